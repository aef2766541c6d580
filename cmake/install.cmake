# Headers, libraries, the command, and what pkg-config and find_package() need to find them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

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
