# The weir command, the examples and the measurements: one program for each file, except for the
# command. The command and the examples see weir.h and nothing else of the library.
weir_sources(files cli/*.c)
if(WEIR_COMMAND AND files)
  add_executable(weir_command ${files})
  weir_target(weir_command weir_static Threads::Threads)
  target_compile_definitions(weir_command PRIVATE _GNU_SOURCE)
  set_target_properties(weir_command PROPERTIES
    OUTPUT_NAME weir RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
endif()

weir_sources(files examples/*.c)
if(WEIR_EXAMPLES)
  foreach(file IN LISTS files)
    cmake_path(GET file STEM name)
    if(name STREQUAL "foreign_loop" AND NOT LIBUV_FOUND)
      message(STATUS "examples/foreign_loop is left out: libuv was not found")
      continue()
    endif()
    add_executable(example_${name} ${file})
    weir_target(example_${name} weir_shared Threads::Threads)
    set_target_properties(example_${name} PROPERTIES
      OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/examples)
  endforeach()
  if(TARGET example_foreign_loop)
    target_link_libraries(example_foreign_loop PRIVATE PkgConfig::LIBUV)
  endif()
endif()

# The measurements. A program that needs a library which is not there is left out, and so are its
# rows of the figures. Headers of others are not held to our warnings.
weir_sources(files bench/*.c)
weir_sources(support bench/support/*.c)
function(weir_bench_library name variable)
  if(NOT ${variable})
    return()
  endif()
  add_library(bench_with_${name} INTERFACE)
  target_link_libraries(bench_with_${name} INTERFACE ${ARGN})
endfunction()

if(WEIR_BENCH AND files)
  pkg_check_modules(BENCH_URING IMPORTED_TARGET QUIET liburing)
  pkg_check_modules(BENCH_ST IMPORTED_TARGET QUIET st)
  find_library(LIBEV ev)
  find_library(BOOST_CONTEXT boost_context)
  find_program(GO go)
  mark_as_advanced(LIBEV BOOST_CONTEXT GO)
  weir_bench_library(libuv LIBUV_FOUND PkgConfig::LIBUV)
  weir_bench_library(libevent LIBEVENT_FOUND PkgConfig::LIBEVENT)
  weir_bench_library(uring BENCH_URING_FOUND PkgConfig::BENCH_URING)
  weir_bench_library(st BENCH_ST_FOUND PkgConfig::BENCH_ST)
  weir_bench_library(libev LIBEV ${LIBEV})
  weir_bench_library(boost BOOST_CONTEXT ${BOOST_CONTEXT})

  if(NOT weir_have_tls)
    list(FILTER files EXCLUDE REGEX "/bench/tls_[^/]*$")
    list(FILTER support EXCLUDE REGEX "/bench/support/tls\\.c$")
  endif()
  add_library(bench_support STATIC ${support})
  weir_target(bench_support)
  target_compile_definitions(bench_support PUBLIC _GNU_SOURCE)
  target_include_directories(bench_support PUBLIC ${PROJECT_SOURCE_DIR}/bench)
  target_link_options(bench_support PUBLIC -Wl,--as-needed)
  target_link_libraries(bench_support PUBLIC weir_static PkgConfig::CARES Threads::Threads
    $<TARGET_NAME_IF_EXISTS:PkgConfig::OPENSSL>)
  set_target_properties(bench_support PROPERTIES
    ARCHIVE_OUTPUT_DIRECTORY ${weir_internal_dir})

  # NAME_LIBRARY.c for those that need one.
  foreach(file IN LISTS files)
    cmake_path(GET file STEM name)
    set(library)
    if(name MATCHES "_(libuv|libevent|libev|uring|st|boost)$")
      set(library bench_with_${CMAKE_MATCH_1})
      if(NOT TARGET ${library})
        message(STATUS "bench/${name} is left out: no ${CMAKE_MATCH_1}")
        continue()
      endif()
    endif()
    add_executable(bench_${name} ${file})
    weir_target(bench_${name} bench_support ${library})
    if(name STREQUAL "switch") # what it measures is no public call
      target_include_directories(bench_${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
    endif()
    set_target_properties(bench_${name} PROPERTIES
      OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench)
  endforeach()

  if(GO)
    set(go_program ${PROJECT_BINARY_DIR}/bench/echo_go)
    add_custom_command(OUTPUT ${go_program}
      COMMAND ${CMAKE_COMMAND} -E env GO111MODULE=off CGO_ENABLED=0
        GOCACHE=${PROJECT_BINARY_DIR}/CMakeFiles/go ${GO} build -o ${go_program} main.go
      DEPENDS ${PROJECT_SOURCE_DIR}/bench/echo_go/main.go
      WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}/bench/echo_go
      VERBATIM)
    add_custom_target(bench_echo_go ALL DEPENDS ${go_program})
  else()
    message(STATUS "bench/echo_go is left out: no go")
  endif()
endif()
