# The rows that the scenarios run in. A test is scenario/MODE/TRANSPORT; with eintr in front, the
# same under a storm of signals.
set(modes blocking timeout deadline nonblocking)
set(transports tcp4 tcp6 unix abstract seqpacket pair udp4 udp6 unixdgram)

# Valgrind takes a minute for a row, and lets no system call through while signals keep coming in.
if(WEIR_MEMCHECK)
  set(modes blocking nonblocking)
  set(transports tcp4 unix unixdgram)
endif()

# Each scenario has a watchdog of its own, which tells more than a row that was cut off.
math(EXPR row_seconds "5 * ${seconds}")

foreach(mode IN LISTS modes)
  foreach(transport IN LISTS transports)
    set(row $<TARGET_FILE:scenarios> --mode ${mode} --transport ${transport})
    weir_add_test(scenario/${mode}/${transport} ${wrapper} ${row})
    set(names scenario/${mode}/${transport})
    if(NOT WEIR_MEMCHECK)
      weir_add_test(scenario/eintr/${mode}/${transport} ${wrapper} ${row} --eintr --seed 2)
      list(APPEND names scenario/eintr/${mode}/${transport})
    endif()
    set_tests_properties(${names} PROPERTIES TIMEOUT ${row_seconds})
  endforeach()
endforeach()
