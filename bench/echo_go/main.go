// The same echo server in Go: a goroutine per connection; with the argument "close" it sends back
// what comes first, and closes. Prints `PORT PID`.
package main

import (
	"fmt"
	"net"
	"os"
)

func serve(c net.Conn, once bool) {
	defer c.Close()
	buf := make([]byte, 1024)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err = c.Write(buf[:n]); err != nil || once {
			return
		}
	}
}

func main() {
	once := len(os.Args) > 1 && os.Args[1] == "close"
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port, os.Getpid())
	for {
		if c, err := listener.Accept(); err == nil {
			go serve(c, once)
		}
	}
}
