/* weir: network code in a straight line, as if it blocked; how it waits is chosen when it runs.
 *
 * This header brings in the whole public interface. */
#ifndef WEIR_H
#define WEIR_H

#include <weir/address.h>
#include <weir/datagram.h>
#include <weir/dial.h>
#include <weir/error.h>
#include <weir/inspect.h>
#include <weir/limit.h>
#include <weir/names.h>
#include <weir/poller.h>
#include <weir/reader.h>
#include <weir/relay.h>
#include <weir/serve.h>
#include <weir/socket.h>
#include <weir/task.h>
#include <weir/tls.h>
#include <weir/unix.h>

#endif
