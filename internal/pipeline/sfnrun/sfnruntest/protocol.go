package sfnruntest

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/smithy-go"
)

// ServeHTTP lets the SDK of another process call the account, in Step Functions' own
// protocol: JSON 1.0, times in seconds since 1970.
func (a *Account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "AWSStepFunctions.")
	out, err := a.call(operation, r)
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	var refused smithy.APIError
	if errors.As(err, &refused) {
		out = map[string]string{"__type": refused.ErrorCode(), "message": refused.ErrorMessage()}
		w.WriteHeader(http.StatusBadRequest)
	} else if err != nil {
		a.tb.Errorf("%s of Step Functions: %v", operation, err)
		w.WriteHeader(http.StatusInternalServerError)
	}
	_ = json.NewEncoder(w).Encode(out) // who is gone needs no answer
}

// call has an operation carried out, whose input has the names of the SDK's fields
// but for their first letters.
func (a *Account) call(operation string, r *http.Request) (any, error) {
	body := json.NewDecoder(r.Body)
	body.DisallowUnknownFields()
	switch operation {
	case "StartExecution":
		var in sfn.StartExecutionInput
		if err := body.Decode(&in); err != nil {
			return nil, err
		}
		out, err := a.StartExecution(r.Context(), &in)
		if err != nil {
			return nil, err
		}
		return map[string]any{"executionArn": out.ExecutionArn, "startDate": out.StartDate.Unix()}, nil
	case "DescribeExecution":
		var in sfn.DescribeExecutionInput
		if err := body.Decode(&in); err != nil {
			return nil, err
		}
		out, err := a.DescribeExecution(r.Context(), &in)
		if err != nil {
			return nil, err
		}
		return map[string]any{
			"executionArn": out.ExecutionArn, "status": out.Status, "input": out.Input, "error": out.Error, "cause": out.Cause,
			"startDate": time.Now().Unix(),
		}, nil
	case "GetExecutionHistory":
		var in sfn.GetExecutionHistoryInput
		if err := body.Decode(&in); err != nil {
			return nil, err
		}
		out, err := a.GetExecutionHistory(r.Context(), &in)
		if err != nil {
			return nil, err
		}
		events := make([]any, len(out.Events))
		for i, e := range out.Events {
			events[i] = map[string]any{
				"id": len(out.Events) - i, "timestamp": time.Now().Unix(), "type": "TaskStateEntered",
				"stateEnteredEventDetails": map[string]any{"name": e.StateEnteredEventDetails.Name},
			}
		}
		return map[string]any{"events": events}, nil
	case "StopExecution":
		var in sfn.StopExecutionInput
		if err := body.Decode(&in); err != nil {
			return nil, err
		}
		_, err := a.StopExecution(r.Context(), &in)
		return map[string]any{"stopDate": time.Now().Unix()}, err
	}
	return nil, &smithy.GenericAPIError{Code: "UnknownOperationException", Message: operation}
}
