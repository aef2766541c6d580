# The rows that the scenarios run in. A test is scenario/MODE/TRANSPORT, or with tasks
# scenario/MODEL/MODE/TRANSPORT; with eintr in front, the same under a storm of signals.
set(modes blocking timeout deadline nonblocking)
set(models threads tasks-epoll tasks-io_uring tasks-poll)
set(models_with_limits threads tasks-epoll tasks-io_uring)
set(transports tcp4 tcp6 unix abstract seqpacket pair udp4 udp6 unixdgram)

if(weir_have_tls)
  list(APPEND transports tls12 tls13)
  target_compile_definitions(test_support PRIVATE HAVE_TLS=1)
endif()

# Valgrind takes a minute for a row, and lets no system call through while signals keep coming in.
if(WEIR_MEMCHECK)
  set(modes blocking nonblocking)
  set(models threads tasks-epoll tasks-io_uring)
  set(models_with_limits)
  list(REMOVE_ITEM transports tcp6 abstract seqpacket pair udp4 udp6 tls12)
endif()

# Sanitizers see in the plain rows what there is to see; signals and the rest are for the release.
set(all_rows ON)
if(WEIR_SANITIZE OR WEIR_MEMCHECK)
  set(all_rows OFF)
endif()
if(WEIR_SANITIZE)
  set(models_with_limits tasks-io_uring)
endif()

# Twins of other transports, which differ in their addresses only: two rows are enough for tools.
set(models_of_twins tasks-epoll)
set(modes_of_twins blocking)
set(twins)
if(WEIR_SANITIZE)
  set(twins tcp6 udp6 abstract)
endif()
# A row takes Valgrind minutes: beside all unit programs it has a look at tasks. For ThreadSanitizer
# what threads share is the same in both versions of TLS.
if(WEIR_MEMCHECK)
  set(twins unix tls13)
  set(modes_of_twins)
endif()
if(WEIR_SANITIZE STREQUAL "thread")
  list(APPEND twins tls12)
endif()

# Each scenario has a watchdog of its own, which tells more than a row that was cut off.
math(EXPR row_seconds "5 * ${seconds}")

# weir_add_row(NAME [ARGUMENT...])
function(weir_add_row name)
  weir_add_test(scenario/${name} ${wrapper} $<TARGET_FILE:scenarios> ${ARGN})
  # The longest ones begin first.
  set_tests_properties(scenario/${name} PROPERTIES TIMEOUT ${row_seconds} COST 1)
  if(name MATCHES "tls")
    set_tests_properties(scenario/${name} PROPERTIES COST 2)
  endif()
endfunction()

foreach(transport IN LISTS transports)
  set(of)
  if(transport IN_LIST twins)
    set(of _of_twins)
  endif()
  foreach(mode IN LISTS modes${of})
    set(row --mode ${mode} --transport ${transport})
    weir_add_row(${mode}/${transport} ${row})
    if(all_rows)
      weir_add_row(eintr/${mode}/${transport} ${row} --eintr --seed 2)
    endif()
  endforeach()
  foreach(model IN LISTS models${of})
    weir_add_row(${model}/blocking/${transport}
      --model ${model} --mode blocking --transport ${transport} --seed 3)
  endforeach()
  foreach(model IN LISTS models_with_limits${of})
    weir_add_row(${model}/deadline/${transport}
      --model ${model} --mode deadline --transport ${transport} --seed 3)
  endforeach()
  if(all_rows)
    # Modes that go their own way, once with tasks; and signals, which come in anywhere.
    set(row --model tasks-epoll --transport ${transport})
    foreach(mode timeout nonblocking)
      weir_add_row(tasks-epoll/${mode}/${transport} ${row} --mode ${mode} --seed 4)
    endforeach()
    weir_add_row(eintr/tasks-epoll/blocking/${transport} ${row} --mode blocking --eintr --seed 5)
    weir_add_row(eintr/tasks-io_uring/blocking/${transport} --model tasks-io_uring
      --mode blocking --transport ${transport} --eintr --seed 5)
  endif()
endforeach()
