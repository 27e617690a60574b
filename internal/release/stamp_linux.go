package release

import (
	"errors"
	"runtime"
	"syscall"
	"unsafe"
)

// statx asks the file's server, not this host's cache, for its attributes
// (statx(2), AT_STATX_FORCE_SYNC). The numbers are the kernel's ABI: the
// standard library has none for it.
func statx(path string, mask uint32, buf *statxBuf) error {
	const (
		atFDCWD    = -0x64
		noFollow   = 0x100
		forceSync  = 0x2000
		sysStatx64 = 291 // arm64, riscv64 and every later port
	)
	var number uintptr
	switch runtime.GOARCH {
	case "amd64":
		number = 332
	case "arm64", "riscv64", "loong64":
		number = sysStatx64
	default:
		return syscall.ENOSYS
	}
	name, err := syscall.BytePtrFromString(path)
	if err != nil {
		return err
	}
	dir := atFDCWD
	for {
		_, _, errno := syscall.Syscall6(number, uintptr(dir), uintptr(unsafe.Pointer(name)),
			noFollow|forceSync, uintptr(mask), uintptr(unsafe.Pointer(buf)), 0)
		switch errno {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return errno
		}
	}
}

// statxBuf is struct statx up to what is read here.
type statxBuf struct {
	mask, blksize     uint32
	attributes        uint64
	nlink, uid, gid   uint32
	mode, _           uint16
	ino, size, blocks uint64
	attributesMask    uint64
	atime, btime      statxTime
	ctime, mtime      statxTime
	_                 [128]byte // the kernel writes 256 bytes in all
}

type statxTime struct {
	sec  int64
	nsec uint32
	_    int32
}

const (
	statxCtime = 0x80
	statxIno   = 0x100
	statxSize  = 0x200
)

// forceSync makes the next look into dir see what other hosts did there. It is
// a help, not a need: an error shows again in the look itself.
func forceSync(dir string) {
	var buf statxBuf
	_ = statx(dir, statxCtime, &buf)
}

func stampOf(path string) (Stamp, error) {
	var buf statxBuf
	err := statx(path, statxCtime|statxIno|statxSize, &buf)
	if errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EPERM) { // an old kernel, or a sandbox that knows no statx
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return Stamp{}, err
		}
		return Stamp{inode: st.Ino, changed: st.Ctim.Nano(), size: st.Size}, nil
	}
	if err != nil {
		return Stamp{}, err
	}
	return Stamp{inode: buf.ino, changed: buf.ctime.sec*1e9 + int64(buf.ctime.nsec), size: int64(buf.size)}, nil
}
