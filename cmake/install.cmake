# Headers, libraries, the command, and what pkg-config and find_package() need to find them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(weir_requires libcares)
if(weir_have_io_uring)
  string(APPEND weir_requires " liburing")
endif()
if(weir_have_tls)
  string(APPEND weir_requires " openssl")
endif()
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/weir)

install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(TARGETS weir_shared EXPORT weirTargets)
install(TARGETS weir_static EXPORT weirStaticTargets)
if(TARGET weir_command)
  install(TARGETS weir_command)
  weir_sources(pages man/*.1)
  install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()

install(EXPORT weirTargets NAMESPACE weir:: DESTINATION ${package_dir})
install(EXPORT weirStaticTargets NAMESPACE weir:: DESTINATION ${package_dir})
configure_package_config_file(packaging/weirConfig.cmake.in ${weir_internal_dir}/weirConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${weir_internal_dir}/weirConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${weir_internal_dir}/weirConfig.cmake ${weir_internal_dir}/weirConfigVersion.cmake
  DESTINATION ${package_dir})

set(pc_includedir "\${prefix}")
set(pc_libdir "\${prefix}")
cmake_path(APPEND pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
cmake_path(APPEND pc_libdir "${CMAKE_INSTALL_LIBDIR}")
configure_file(packaging/weir.pc.in ${weir_internal_dir}/weir.pc @ONLY)
install(FILES ${weir_internal_dir}/weir.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# gdb finds the second file by the library's name, and that finds the first.
set(gdb_dir ${CMAKE_INSTALL_DATADIR}/weir/gdb)
install(FILES packaging/gdb/weir-gdb.py DESTINATION ${gdb_dir})
install(DIRECTORY packaging/gdb/weir_gdb DESTINATION ${gdb_dir} FILES_MATCHING PATTERN "*.py")
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" AND NOT IS_ABSOLUTE "${CMAKE_INSTALL_DATADIR}")
  # The directory has the name of the one that the library is in, wherever that comes to be.
  set(gdb_library_dir "\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}")
  install(CODE "
    set(extension \"\${CMAKE_INSTALL_PREFIX}/${gdb_dir}/weir-gdb.py\")
    set(directory \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/gdb/auto-load\")
    string(APPEND directory \"${gdb_library_dir}\")
    file(RELATIVE_PATH gdb_extension \"\${directory}\" \"\${extension}\")
    configure_file(\"${PROJECT_SOURCE_DIR}/packaging/gdb/auto-load.py.in\"
      \"\$ENV{DESTDIR}\${directory}/$<TARGET_FILE_NAME:weir_shared>-gdb.py\" @ONLY)")
endif()
