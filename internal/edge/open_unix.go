//go:build unix

package edge

import (
	"os"
	"syscall"
)

// openRegular opens a file for reading without following a link at its end and
// without waiting, should it be a pipe.
func openRegular(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}
