package agent

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// ownListener reports whether nobody but this process's user listens where a
// connection to 127.0.0.1 and the given port arrives. Where the kernel does not
// tell, it is believed.
func ownListener(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return false
	}
	hex := strings.ToUpper(strconv.FormatUint(n, 16))
	suffix := ":" + strings.Repeat("0", 4-len(hex)) + hex
	uid := strconv.Itoa(os.Geteuid())
	return ownIn("/proc/self/net/tcp", suffix, uid) && ownIn("/proc/self/net/tcp6", suffix, uid)
}

func ownIn(table, suffix, uid string) bool {
	const listening = "0A"
	f, err := os.Open(table)
	if err != nil {
		return true
	}
	defer f.Close()
	rows := bufio.NewScanner(f)
	rows.Scan() // the heading
	for rows.Scan() {
		// sl local_address rem_address st queues timer retransmits uid ...
		row := strings.Fields(rows.Text())
		if len(row) < 8 || row[3] != listening {
			return true // listeners come first
		}
		addr, ok := strings.CutSuffix(row[1], suffix)
		if ok && reachesLoopback(addr) && row[7] != uid {
			return false
		}
	}
	return true
}

// reachesLoopback reports whether a listener at addr, as the kernel prints it,
// takes connections to 127.0.0.1.
func reachesLoopback(addr string) bool {
	switch addr {
	case "0100007F", "00000000", // 127.0.0.1, 0.0.0.0
		"7F000001",                         // the same, of a big-endian machine
		"00000000000000000000000000000000", // ::
		"0000000000000000FFFF00000100007F", // ::ffff:127.0.0.1
		"00000000000000000000FFFF7F000001":
		return true
	}
	return false
}
