package release

// Volume is one tenant's directory on the shared volume.
type Volume struct{ dir string }

// Open returns the volume at dir, which must exist.
func Open(dir string) *Volume { return &Volume{dir: dir} }

// Dir returns the volume's directory.
func (v *Volume) Dir() string { return v.dir }
