package awstest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Spec is a container to be started.
type Spec struct {
	Task       string // ID
	Definition types.TaskDefinition
	Container  types.ContainerDefinition
}

// Host is where containers run.
type Host interface {
	Start(ctx context.Context, s Spec) (Container, error)
}

// Container is one that was started.
type Container interface {
	Host() string            // where its ports are
	Ports() map[int]int      // where each of the container's ports really is
	Healthy() bool           // now
	Exited() <-chan struct{} // closed once it has
	// Stop asks it to end, ends it by force after the grace or once now is
	// closed, and returns its exit code.
	Stop(grace time.Duration, now <-chan struct{}) (code int)
}

// Records is a Host that runs nothing: it keeps record of what would run. It
// mounts all the same, since with the first mount a directory comes to be.
type Records struct {
	Mount func(ctx context.Context, v types.EFSVolumeConfiguration) (string, error)

	next    atomic.Int32
	running atomic.Int32
}

// Running returns how many containers would run.
func (r *Records) Running() int { return int(r.running.Load()) }

// Start implements Host.
func (r *Records) Start(ctx context.Context, s Spec) (Container, error) {
	for _, v := range s.Definition.Volumes {
		if v.EfsVolumeConfiguration == nil {
			continue
		}
		if _, err := r.Mount(ctx, *v.EfsVolumeConfiguration); err != nil {
			return nil, fmt.Errorf("ResourceInitializationError: failed to invoke EFS utils commands: %w", err)
		}
	}
	r.running.Add(1)
	c := &recorded{of: r, exited: make(chan struct{}), ports: make(map[int]int)}
	for _, p := range s.Container.PortMappings {
		c.ports[int(*p.ContainerPort)] = 32768 + int(r.next.Add(1))%28000
	}
	return c, nil
}

type recorded struct {
	of     *Records
	ports  map[int]int
	exited chan struct{}
	once   sync.Once
}

func (c *recorded) Host() string            { return "127.0.0.1" }
func (c *recorded) Ports() map[int]int      { return c.ports }
func (c *recorded) Healthy() bool           { return true }
func (c *recorded) Exited() <-chan struct{} { return c.exited }

func (c *recorded) Stop(time.Duration, <-chan struct{}) int {
	c.once.Do(func() {
		close(c.exited)
		c.of.running.Add(-1)
	})
	return 0
}
