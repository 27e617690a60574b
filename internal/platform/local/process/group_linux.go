package process

import (
	"os"
	"syscall"
)

// startIn has a process that is started with attr begin in a control group,
// rather than be put there while it runs already.
func startIn(attr *syscall.SysProcAttr, group string) (done func(), err error) {
	if group == "" {
		return func() {}, nil
	}
	dir, err := os.Open(group)
	if err != nil {
		return nil, err
	}
	attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
	return func() { dir.Close() }, nil
}
