# How everything here is compiled: warnings, sanitizers, and what a target of ours begins with.
# Warnings become errors with CMAKE_COMPILE_WARNING_AS_ERROR, which our presets set and nobody
# who embeds weir has to.
set(weir_warnings
  -Wall
  -Wextra
  -Wpedantic
  -Wcast-align
  -Wconversion
  -Wno-sign-conversion
  -Wformat=2
  -Wmissing-prototypes
  -Wnested-externs
  -Wold-style-definition
  -Wpointer-arith
  -Wredundant-decls
  -Wshadow
  -Wstrict-prototypes
  -Wundef
  -Wvla
  -Wwrite-strings)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # clang counts the casts in OpenSSL's macros as ours.
  list(APPEND weir_warnings -Wcast-qual -Wduplicated-branches -Wduplicated-cond -Wlogical-op)
endif()

if(WEIR_PORTABLE_SWITCH)
  add_compile_definitions(WEIR_PORTABLE_SWITCH=1)
endif()
if(WEIR_SANITIZE)
  # gcc's guesses about uninitialized values are wrong more often in instrumented code.
  add_compile_options(
    -fsanitize=${WEIR_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
    $<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  add_link_options(-fsanitize=${WEIR_SANITIZE})
endif()
if(WEIR_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Archives that only the build needs stay out of sight.
set(weir_internal_dir ${PROJECT_BINARY_DIR}/CMakeFiles/internal)

# weir_target(NAME [LIBRARY...]): what every library and program of ours gets. The public
# headers come along with the library; the private ones are for those who ask.
function(weir_target name)
  target_compile_options(${name} PRIVATE "$<$<COMPILE_LANGUAGE:C>:${weir_warnings}>")
  target_link_libraries(${name} PRIVATE ${ARGN})
endfunction()

# weir_sources(VARIABLE GLOB...): the files there are; none is fine.
function(weir_sources variable)
  set(found)
  foreach(glob IN LISTS ARGN)
    file(GLOB files CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${glob}")
    list(APPEND found ${files})
  endforeach()
  set(${variable} ${found} PARENT_SCOPE)
endfunction()
