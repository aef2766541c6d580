# Every test of test/ and fuzz/, by the names unit/…, scenario/…, system/… and fuzz/…, each with
# a label of that kind. Exit code 77 means skipped; the test has printed why.
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)

set(environment
  WEIR_BUILD=${PROJECT_BINARY_DIR}
  WEIR_SOURCE=${PROJECT_SOURCE_DIR})
set(seconds 60)
set(wrapper)

if(WEIR_SANITIZE OR WEIR_MEMCHECK)
  set(seconds 240)
  list(APPEND environment WEIR_SLOW=1)
endif()
if(WEIR_SANITIZE)
  string(JOIN ":" asan halt_on_error=1 detect_leaks=1 detect_stack_use_after_return=1
    strict_string_checks=1 check_initialization_order=1)
  # Threads after a fork are one of the things that are tested.
  string(JOIN ":" tsan halt_on_error=1 second_deadlock_stack=1 die_after_fork=0)
  list(APPEND environment ASAN_OPTIONS=${asan} TSAN_OPTIONS=${tsan}
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1)
endif()
if(WEIR_MEMCHECK)
  find_program(VALGRIND valgrind REQUIRED)
  set(wrapper ${VALGRIND} --quiet --error-exitcode=99 --leak-check=full --fair-sched=try
    --show-leak-kinds=definite --errors-for-leak-kinds=definite
    --suppressions=${PROJECT_SOURCE_DIR}/test/valgrind.supp)
elseif(WEIR_SANITIZE STREQUAL "thread")
  # ThreadSanitizer wants its address ranges free, which a kernel that randomizes more than
  # 28 bits does not promise.
  execute_process(COMMAND setarch -R true RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
  if(status EQUAL 0)
    set(wrapper setarch -R)
  endif()
endif()

function(weir_add_test name)
  add_test(NAME ${name} COMMAND ${ARGN})
  string(REGEX REPLACE "/.*" "" kind ${name})
  set_tests_properties(${name} PROPERTIES
    LABELS ${kind}
    TIMEOUT ${seconds}
    SKIP_RETURN_CODE 77
    ENVIRONMENT "${environment}")
  # OpenSSL's own atomics are not seen, and what they guard would be reported.
  if(WEIR_SANITIZE STREQUAL "thread" AND name MATCHES "tls")
    set_tests_properties(${name} PROPERTIES
      ENVIRONMENT_MODIFICATION TSAN_OPTIONS=string_append:::ignore_noninstrumented_modules=1)
  endif()
endfunction()

# Needed before the sanitizer's own malloc is, and so in each program.
if(WEIR_SANITIZE MATCHES "address" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  add_library(sanitizer_fork OBJECT test/sanitizer/fork.c)
  weir_target(sanitizer_fork)
  target_compile_definitions(sanitizer_fork PRIVATE _GNU_SOURCE)
  target_compile_options(sanitizer_fork PRIVATE
    -fno-sanitize=all -fno-builtin -fvisibility=default)
  set(sanitizer_fork $<TARGET_OBJECTS:sanitizer_fork>)
endif()

function(weir_test_program name directory)
  add_executable(${name} ${ARGN} ${sanitizer_fork})
  weir_target(${name} $<TARGET_NAME_IF_EXISTS:test_support> test_libraries)
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/${directory})
endfunction()

add_library(test_libraries INTERFACE)
target_include_directories(test_libraries INTERFACE ${PROJECT_SOURCE_DIR}/test)
target_link_options(test_libraries INTERFACE -Wl,--as-needed)
target_link_libraries(test_libraries INTERFACE
  weir_test PkgConfig::CMOCKA PkgConfig::CARES Threads::Threads m)
if(LIBUV_FOUND)
  target_link_libraries(test_libraries INTERFACE PkgConfig::LIBUV)
  target_compile_definitions(test_libraries INTERFACE HAVE_LIBUV=1)
endif()

# Without TLS its tests and what they need are left out.
function(weir_without_tls variable)
  set(files ${${variable}})
  if(NOT weir_have_tls)
    list(FILTER files EXCLUDE REGEX "/(test_|fuzz_)?(tls|pki|make_pki)[^/]*$")
  endif()
  set(${variable} ${files} PARENT_SCOPE)
endfunction()
if(weir_have_tls)
  target_link_libraries(test_libraries INTERFACE PkgConfig::OPENSSL)
endif()

weir_sources(files test/support/*.c)
weir_without_tls(files)
if(files)
  add_library(test_support STATIC ${files})
  weir_target(test_support test_libraries)
  set_target_properties(test_support PROPERTIES ARCHIVE_OUTPUT_DIRECTORY ${weir_internal_dir})
endif()

# fuzz/NAME: fuzz/fuzz_NAME.c, fed with what fuzz/corpus/NAME/ holds
weir_sources(files fuzz/fuzz_*.c)
weir_without_tls(files)
foreach(file IN LISTS files)
  cmake_path(GET file STEM program)
  string(REGEX REPLACE "^fuzz_" "" name ${program})
  if(WEIR_FUZZ)
    weir_test_program(${program} fuzz ${file})
    target_link_options(${program} PRIVATE -fsanitize=fuzzer)
    weir_add_test(fuzz/${name} $<TARGET_FILE:${program}> -runs=0
      ${PROJECT_SOURCE_DIR}/fuzz/corpus/${name})
  else()
    weir_test_program(${program} fuzz ${file} ${PROJECT_SOURCE_DIR}/fuzz/replay.c)
    weir_add_test(fuzz/${name} ${wrapper} $<TARGET_FILE:${program}>
      ${PROJECT_SOURCE_DIR}/fuzz/corpus/${name})
  endif()
endforeach()

if(WEIR_FUZZ)
  return()
endif()

# unit/NAME: test/unit/test_NAME.c
weir_sources(files test/unit/test_*.c)
weir_without_tls(files)
foreach(file IN LISTS files)
  cmake_path(GET file STEM program)
  string(REGEX REPLACE "^test_" "" name ${program})
  weir_test_program(${program} test ${file})
  weir_add_test(unit/${name} ${wrapper} $<TARGET_FILE:${program}>)
endforeach()

# scenario/…: one program, once for each row of cmake/scenarios.cmake
weir_sources(files test/scenario/*.c)
if(files)
  weir_test_program(scenarios test ${files})
  include(cmake/scenarios.cmake)
endif()

# test/programs/NAME.c: what the scripts below run, each linked with the library as it is released.
weir_sources(files test/programs/*.c)
weir_without_tls(files)
foreach(file IN LISTS files)
  cmake_path(GET file STEM name)
  add_executable(program_${name} ${file})
  weir_target(program_${name} weir_static Threads::Threads)
  if(name MATCHES "pki|tls")
    target_link_libraries(program_${name} PRIVATE PkgConfig::OPENSSL)
    weir_sources(factory test/support/pki*.c)
    target_sources(program_${name} PRIVATE ${factory})
    target_include_directories(program_${name} PRIVATE ${PROJECT_SOURCE_DIR}/test)
  endif()
  target_compile_definitions(program_${name} PRIVATE _GNU_SOURCE)
  set_target_properties(program_${name} PROPERTIES
    OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test)
endforeach()

# system/NAME: test/system/NAME.sh, run against what was built. One that must not share the
# machine says `# ctest: serial`, one that takes long `# ctest: timeout 120`; with
# `# ctest: also asan` it runs in that preset too (strace and sanitizers, for one, do not mix).
weir_sources(files test/system/*.sh packaging/test/*.sh)
foreach(file IN LISTS files)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(STRINGS ${file} wishes REGEX "^# ctest:")
  if(WEIR_MEMCHECK OR (WEIR_SANITIZE STREQUAL "thread" AND NOT wishes MATCHES "also[^;]* tsan")
      OR (WEIR_SANITIZE MATCHES "address" AND NOT wishes MATCHES "also[^;]* asan"))
    continue()
  endif()
  cmake_path(GET file STEM name)
  weir_add_test(system/${name} ${wrapper} bash ${file})
  if(wishes MATCHES "serial")
    set_tests_properties(system/${name} PROPERTIES RUN_SERIAL ON)
  endif()
  if(wishes MATCHES "timeout ([0-9]+)")
    set_tests_properties(system/${name} PROPERTIES TIMEOUT ${CMAKE_MATCH_1} COST 1)
  endif()
endforeach()

# planted/NAME: test/planted/NAME.c, whose bug a tool has to find, where there is one.
set(tool)
if(WEIR_MEMCHECK)
  set(tool valgrind)
elseif(WEIR_SANITIZE MATCHES "address")
  set(tool asan)
elseif(WEIR_SANITIZE STREQUAL "thread")
  set(tool tsan)
endif()
if(tool)
  weir_sources(files test/planted/*.c)
  list(FILTER files EXCLUDE REGEX "/planted\\.c$")
  foreach(file IN LISTS files)
    cmake_path(GET file STEM name)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(STRINGS ${file} wanted REGEX "^ \\* ${tool}: ")
    string(REGEX REPLACE "^ \\* ${tool}: | *\\*/$" "" wanted "${wanted}")
    if(NOT wanted)
      set(wanted nothing)
    endif()
    file(STRINGS ${file} options REGEX "^ \\* ASAN_OPTIONS: ")
    string(REGEX REPLACE "^ \\* ASAN_OPTIONS: | *\\*/$" "" options "${options}")
    add_executable(planted_${name} ${file} test/planted/planted.c)
    weir_target(planted_${name} weir_static Threads::Threads)
    target_compile_definitions(planted_${name} PRIVATE _GNU_SOURCE)
    set_target_properties(planted_${name} PROPERTIES
      OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test/planted)
    weir_add_test(planted/${name} bash ${PROJECT_SOURCE_DIR}/test/planted/check.sh "${wanted}"
      ${wrapper} $<TARGET_FILE:planted_${name}>)
    if(options AND NOT WEIR_MEMCHECK)
      set_tests_properties(planted/${name} PROPERTIES
        ENVIRONMENT_MODIFICATION ASAN_OPTIONS=string_append::${options})
    endif()
  endforeach()
endif()
