package release

import (
	"os"
	"path/filepath"
)

// Stamp tells one state of the pointer file from another without reading it.
// The zero Stamp is that of no pointer.
type Stamp struct {
	inode   uint64
	changed int64 // ns since 1970
	size    int64
}

// Stamp looks at the pointer file: two system calls, for those who poll. Equal
// stamps mean, but for a chance in clocks' granularity, an unchanged pointer.
func (v *Volume) Stamp() (Stamp, error) {
	forceSync(v.dir)
	s, err := stampOf(filepath.Join(v.dir, pointerName))
	if os.IsNotExist(err) && v.exists() {
		return Stamp{}, nil
	}
	return s, err
}
