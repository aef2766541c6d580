# libweir.so and libweir.a from one compilation, and for the tests once more with assertions and
# with the faults that src/sys.h can inject.
weir_sources(sources src/*.c src/layer/*.c src/loop/*.c src/task/*.c src/task/*.S src/resolve/*.c
  src/tls/*.c)
if(NOT sources)
  message(FATAL_ERROR "src/ has no sources")
endif()

set(weir_dependencies PkgConfig::CARES Threads::Threads)
set(weir_have_io_uring 0)
if(WEIR_IO_URING AND TARGET PkgConfig::LIBURING)
  set(weir_have_io_uring 1)
  list(APPEND weir_dependencies PkgConfig::LIBURING)
else()
  message(STATUS "The io_uring loop is left out")
  list(FILTER sources EXCLUDE REGEX "/src/loop/io_uring[^/]*\\.c$")
endif()

set(weir_have_tls OFF)
if(WEIR_TLS AND TARGET PkgConfig::OPENSSL)
  set(weir_have_tls ON)
  list(APPEND weir_dependencies PkgConfig::OPENSSL)
  list(FILTER sources EXCLUDE REGEX "/src/tls/without\\.c$")
else()
  message(STATUS "TLS is left out")
  list(FILTER sources EXCLUDE REGEX "/src/tls/[^w][^/]*\\.c$")
endif()

function(weir_library name type)
  add_library(${name} ${type} ${ARGN})
  weir_target(${name})
  target_include_directories(${name}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>
    PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_compile_definitions(${name} PRIVATE
    _GNU_SOURCE WEIR_HAVE_IO_URING=${weir_have_io_uring})
  target_link_libraries(${name} PRIVATE ${weir_dependencies})
  set_target_properties(${name} PROPERTIES
    OUTPUT_NAME ${name}
    ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
endfunction()

weir_library(weir_objects OBJECT ${sources})
set_target_properties(weir_objects PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_compile_options(weir_objects PRIVATE -fno-semantic-interposition)

weir_library(weir_static STATIC $<TARGET_OBJECTS:weir_objects>)
set_target_properties(weir_static PROPERTIES OUTPUT_NAME weir EXPORT_NAME weir_static)

# nodelete: the resolver's thread may outlive a dlclose().
set(version_script ${PROJECT_SOURCE_DIR}/packaging/weir.map)
weir_library(weir_shared SHARED $<TARGET_OBJECTS:weir_objects>)
set_target_properties(weir_shared PROPERTIES
  OUTPUT_NAME weir
  EXPORT_NAME weir
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}
  LINK_DEPENDS ${version_script})
target_link_options(weir_shared PRIVATE
  -Wl,--version-script=${version_script} -Wl,-z,nodelete -Wl,-z,relro -Wl,-z,now
  -Wl,--as-needed -Wl,-Bsymbolic-functions)
if(NOT WEIR_SANITIZE)
  target_link_options(weir_shared PRIVATE -Wl,--no-undefined)
endif()

add_library(weir::weir ALIAS weir_shared)
add_library(weir::weir_static ALIAS weir_static)

if(WEIR_TESTS)
  weir_library(weir_test STATIC EXCLUDE_FROM_ALL ${sources})
  target_include_directories(weir_test PUBLIC ${PROJECT_SOURCE_DIR}/src)
  target_compile_definitions(weir_test PUBLIC _GNU_SOURCE WEIR_TEST=1)
  target_compile_options(weir_test PUBLIC -UNDEBUG)
  set_target_properties(weir_test PROPERTIES
    ARCHIVE_OUTPUT_DIRECTORY ${weir_internal_dir})
endif()
