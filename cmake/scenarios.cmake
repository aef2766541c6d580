# The rows that the scenarios run in. A test is scenario/MODE/TRANSPORT; with eintr in front, the
# same under a storm of signals.
set(modes blocking timeout deadline nonblocking)
set(transports tcp4 tcp6 unix abstract seqpacket pair udp4 udp6 unixdgram)

# Each scenario has a watchdog of its own, which tells more than a row that was cut off.
math(EXPR row_seconds "5 * ${seconds}")

function(weir_add_row name mode transport)
  weir_add_test(scenario/${name} ${wrapper} $<TARGET_FILE:scenarios>
    --mode ${mode} --transport ${transport} ${ARGN})
  set_tests_properties(scenario/${name} PROPERTIES TIMEOUT ${row_seconds})
endfunction()

foreach(mode IN LISTS modes)
  foreach(transport IN LISTS transports)
    weir_add_row(${mode}/${transport} ${mode} ${transport})
    weir_add_row(eintr/${mode}/${transport} ${mode} ${transport} --eintr --seed 2)
  endforeach()
endforeach()
