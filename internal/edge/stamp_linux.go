package edge

import (
	"time"

	"golang.org/x/sys/unix"
)

// dirStamp tells one state of a directory from another.
type dirStamp struct {
	inode          uint64
	nsec, modified int64 // of its change and of its content's, ns since 1970
}

func (s dirStamp) changed() time.Time { return time.Unix(0, max(s.nsec, s.modified)) }

// freshStamp asks the directory's server, not this host's cache (statx(2),
// AT_STATX_FORCE_SYNC): what is cached of it is then known to be old, too.
func freshStamp(dir string) (dirStamp, error) {
	var st unix.Statx_t
	const mask = unix.STATX_INO | unix.STATX_CTIME | unix.STATX_MTIME
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_STATX_FORCE_SYNC, mask, &st); err != nil {
		return dirStamp{}, err
	}
	ns := func(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }
	return dirStamp{st.Ino, ns(st.Ctime), ns(st.Mtime)}, nil
}
