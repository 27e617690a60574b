package console

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/review"
)

func (s *Server) pulls(w http.ResponseWriter, r *http.Request) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	if s.config.Reviews == nil {
		return noForge()
	}
	found, err := s.config.Reviews.Pulls(r.Context(), limit)
	if err != nil {
		return fmt.Errorf("read pull requests: %w", err)
	}
	return answer(w, orEmpty(found))
}

func (s *Server) pull(w http.ResponseWriter, r *http.Request) error {
	report, err := s.report(r.Context(), r.PathValue("number"))
	if err != nil {
		return err
	}
	return answer(w, report)
}

// report looks a pull request's plan up.
func (s *Server) report(ctx context.Context, number string) (review.Report, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || strconv.Itoa(n) != number {
		return review.Report{}, fault.Errorf(fault.Invalid, "%q is not the number of a pull request", number).
			WithHint("give it as in /pulls/12")
	}
	if s.config.Reviews == nil {
		return review.Report{}, noForge()
	}
	report, err := s.config.Reviews.Report(ctx, n)
	if fault.Is(err, fault.NotFound) {
		return report, fault.Errorf(fault.NotFound, "there is no plan of pull request %d", n).
			WithHint("one is made once the pull request is seen: soon after it is opened onto the followed branch")
	}
	if err != nil {
		return report, fmt.Errorf("read pull request %d: %w", n, err)
	}
	return report, nil
}

func noForge() error {
	return fault.Errorf(fault.NotFound, "this daemon follows no forge, and so has no pull requests").
		WithHint("name the forge in the daemon's configuration")
}
