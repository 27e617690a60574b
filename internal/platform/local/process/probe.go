package process

import (
	"net"
	"os"
	"syscall"
)

// Probe reports whether a TCP address can be listened on: nil, or the kernel's
// error, syscall.EADDRINUSE for one that is taken.
//
// It keeps this process from forking meanwhile. A child has its parent's sockets
// until its exec: the probe itself would seem to take the address for a moment,
// to the next probe and to the server it was made for.
func Probe(addr string) error {
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return err
	}
	return bindable(at.IP, at.Port, syscall.SOCK_STREAM)
}

// free reports whether a port of 127.0.0.1 can be used with TCP and with UDP.
func free(port int) bool {
	loopback := net.IPv4(127, 0, 0, 1)
	return bindable(loopback, port, syscall.SOCK_STREAM) == nil && bindable(loopback, port, syscall.SOCK_DGRAM) == nil
}

func bindable(ip net.IP, port, kind int) error {
	family, at := sockaddr(ip, port)
	syscall.ForkLock.RLock() // package net would want it too, on some systems: hence the bare calls
	defer syscall.ForkLock.RUnlock()
	fd, err := syscall.Socket(family, kind, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer syscall.Close(fd)
	if kind == syscall.SOCK_STREAM { // as servers do: what a former one left in TIME_WAIT is no obstacle
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if err := syscall.Bind(fd, at); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if kind != syscall.SOCK_STREAM {
		return nil
	}
	return os.NewSyscallError("listen", syscall.Listen(fd, 1))
}

// sockaddr returns an address for bind. No IP means all of them.
func sockaddr(ip net.IP, port int) (family int, at syscall.Sockaddr) {
	if v4 := ip.To4(); v4 != nil {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: port, Addr: [4]byte(v4)}
	}
	all := &syscall.SockaddrInet6{Port: port}
	copy(all.Addr[:], ip.To16())
	return syscall.AF_INET6, all
}
