package redisd

import (
	"context"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/platform/local/process"
)

// Watch ends what stops the server for everyone, until ctx is done: a script
// that runs for longer than the busy-reply-threshold. One that has written
// already cannot be ended; the server then is, to be started anew by the Runner.
func (s *Server) Watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.admin.Ping(ctx).Err(); err == nil || !strings.HasPrefix(err.Error(), "BUSY") {
			continue
		}
		err := s.admin.ScriptKill(ctx).Err()
		s.c.Logger.Warn("ended a script that kept redis busy", "error", err)
		if err != nil && strings.HasPrefix(err.Error(), "UNKILLABLE") {
			status := s.c.Runner.Status("redis")
			process.Kill(status.PID, func(pid int) bool { return s.c.Runner.Status("redis").PID == pid })
		}
	}
}
