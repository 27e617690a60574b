package sfnrun

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/smithy-go"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

// look ends the run if its execution has ended.
func (e *Engine) look(ctx context.Context, id, execution string) (over bool, err error) {
	d, err := e.Client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &execution})
	var absent *types.ExecutionDoesNotExist
	switch {
	case errors.As(err, &absent):
		// It was there when the run was started; Step Functions forgets after 90 days.
		return e.end(ctx, id, nil, record(fault.Errorf(fault.Stalled, "Step Functions knows nothing of the run's execution")))
	case err != nil:
		return false, classified(err)
	}
	switch d.Status {
	case types.ExecutionStatusSucceeded:
		return e.end(ctx, id, nil, nil)
	case types.ExecutionStatusFailed:
		return e.failed(ctx, id, d)
	case types.ExecutionStatusTimedOut:
		return e.end(ctx, id, d, record(fault.Errorf(fault.Stalled, "the execution did not end in its time")))
	case types.ExecutionStatusAborted:
		return e.end(ctx, id, d, record(fault.Errorf(fault.Stalled, "the execution was stopped").
			WithHint("what it was doing may be half done: retry the tenant")))
	case types.ExecutionStatusRunning, types.ExecutionStatusPendingRedrive:
	}
	return false, nil
}

// failed ends the run of an execution that failed.
func (e *Engine) failed(ctx context.Context, id string, d *sfn.DescribeExecutionOutput) (bool, error) {
	outcomes, err := e.Ledger.Outcomes(ctx, id)
	if err != nil {
		return false, err
	}
	cause, told := failure(Cause{Error: aws.ToString(d.Error), Cause: aws.ToString(d.Cause)}, outcomes)
	switch {
	case cause == nil: // a Fail state that no error led to
		cause = record(fault.Errorf(fault.Stalled, "the run reached %s", e.last(ctx, d)))
		d = nil
	case told:
		d = nil
	}
	return e.end(ctx, id, d, cause)
}

// end finishes the run. Where no worker told of the failure, d is the execution's
// description, and an event tells in which state it happened.
func (e *Engine) end(ctx context.Context, id string, d *sfn.DescribeExecutionOutput, cause *fault.Record) (bool, error) {
	run, err := e.Ledger.Run(ctx, id)
	switch {
	case fault.Is(err, fault.NotFound):
		e.Logger.Error("run is unknown to the ledger", "run", id, "error", err)
		return true, nil
	case err != nil:
		return false, err
	case run.Status.Terminal():
		return true, nil
	}
	if d != nil && cause != nil {
		state := e.last(ctx, d)
		if state == "" {
			state = run.State
		}
		event := pipeline.Event{Run: id, State: state, Kind: pipeline.Errored, Message: cause.Message}
		if err := e.Ledger.Append(ctx, event); err != nil {
			return false, err
		}
	}
	if err := e.Ledger.Finish(ctx, id, cause); err != nil {
		return false, fmt.Errorf("finish run %s: %w", id, err)
	}
	return true, nil
}

// last returns the state that the execution entered last, "" if it cannot be told.
func (e *Engine) last(ctx context.Context, d *sfn.DescribeExecutionOutput) string {
	history, err := e.Client.GetExecutionHistory(ctx, &sfn.GetExecutionHistoryInput{
		ExecutionArn: d.ExecutionArn, ReverseOrder: true, MaxResults: 100, IncludeExecutionData: aws.Bool(false),
	})
	if err != nil {
		e.Logger.Warn("cannot read an execution's history", "execution", aws.ToString(d.ExecutionArn), "error", err)
		return ""
	}
	for _, h := range history.Events {
		if h.StateEnteredEventDetails != nil {
			return aws.ToString(h.StateEnteredEventDetails.Name)
		}
	}
	return ""
}

// classified gives an error of Step Functions its kind: what the caller or the
// set-up has wrong stays wrong, all else passes.
func classified(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return fault.Errorf(fault.Transient, "%w", err)
	}
	switch api.ErrorCode() {
	case "StateMachineDoesNotExist", "StateMachineDeleting", "InvalidArn":
		return fault.Errorf(fault.Stalled, "%w", err).WithHint("run: gitopsd platform up")
	case "InvalidName", "InvalidExecutionInput", "ValidationException", "AccessDeniedException":
		return fault.Errorf(fault.Stalled, "%w", err)
	}
	return fault.Errorf(fault.Transient, "%w", err)
}
