//go:build !linux

package edge

import (
	"os"
	"time"
)

// dirStamp tells one state of a directory from another.
type dirStamp struct{ modified int64 }

func (s dirStamp) changed() time.Time { return time.Unix(0, s.modified) }

func freshStamp(dir string) (dirStamp, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return dirStamp{}, err
	}
	return dirStamp{info.ModTime().UnixNano()}, nil
}
