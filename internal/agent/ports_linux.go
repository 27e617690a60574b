package agent

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// listensOn returns the ports that a process listens on where a connection to
// 127.0.0.1 arrives.
func listensOn(pid int) (ports []string) {
	sockets := make(map[string]bool) // by inode
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		target, _ := os.Readlink(dir + "/" + e.Name())
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			sockets[strings.TrimSuffix(inode, "]")] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			continue
		}
		rows := bufio.NewScanner(f)
		rows.Scan() // the heading
		for rows.Scan() {
			// sl local_address rem_address st queues timer retransmits uid timeout inode ...
			row := strings.Fields(rows.Text())
			if len(row) < 10 || row[3] != "0A" {
				break // listeners come first
			}
			addr, hex, _ := strings.Cut(row[1], ":")
			port, err := strconv.ParseUint(hex, 16, 16)
			if err == nil && sockets[row[9]] && reachesLoopback(addr) {
				ports = append(ports, strconv.FormatUint(port, 10))
			}
		}
		f.Close()
	}
	return ports
}
