package asl

import (
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

// tries is a state's own retry: the kinds of errors that trying again may help.
// Step Functions waits whole seconds, and at least one.
func tries(r pipeline.Retry) []retrier {
	if r.Attempts <= 1 {
		return nil
	}
	var names []string
	for _, k := range []fault.Kind{fault.Conflict, fault.NotFound, fault.Invalid, fault.Stalled, fault.Transient} {
		if k.Retryable() {
			names = append(names, string(k))
		}
	}
	base := max(seconds(r.Base), 1)
	return []retrier{{
		ErrorEquals: names, IntervalSeconds: base, BackoffRate: 2, MaxAttempts: r.Attempts - 1,
		MaxDelaySeconds: max(seconds(r.Cap), base+1), JitterStrategy: "FULL",
	}}
}

// calls is how a call of the function is tried again that says nothing of the
// task: the service's own errors and a ledger that does not answer, for some
// minutes; and, less often, a function that died, which may be the task's doing.
// Source: AWS, "Handling errors in Step Functions workflows".
func calls() []retrier {
	return []retrier{
		{
			ErrorEquals: []string{
				"Unavailable", "Lambda.TooManyRequestsException", "Lambda.ServiceException", "Lambda.AWSLambdaException",
				"Lambda.SdkClientException", "Lambda.ClientExecutionTimeoutException",
			},
			IntervalSeconds: 1, BackoffRate: 2, MaxAttempts: 12, MaxDelaySeconds: 60, JitterStrategy: "FULL",
		},
		{
			ErrorEquals:     []string{"Lambda.Unknown", "Runtime.ExitError"},
			IntervalSeconds: 2, BackoffRate: 2, MaxAttempts: 2, MaxDelaySeconds: 30, JitterStrategy: "FULL",
		},
	}
}

// starts is how the start of a nested execution is tried again, which its name
// keeps from being two.
func starts() []retrier {
	return []retrier{{
		ErrorEquals:     []string{"StepFunctions.ThrottlingException", "StepFunctions.ExecutionLimitExceededException", "StepFunctions.SdkClientException"},
		IntervalSeconds: 1, BackoffRate: 2, MaxAttempts: 12, MaxDelaySeconds: 60, JitterStrategy: "FULL",
	}}
}

// caught leads any error that is not, or no longer, retried to the state.
func caught(next string) []catcher {
	if next == "" {
		return nil
	}
	return []catcher{{ErrorEquals: []string{"States.ALL"}, ResultPath: path("$.cause"), Next: next}}
}

func seconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}
