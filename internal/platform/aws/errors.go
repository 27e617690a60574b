package aws

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// kinds is what can be done about an error of AWS, by the beginning or the end
// of its code. The first entry that fits counts; what none fits is Transient.
var kinds = []struct {
	kind    fault.Kind
	codes   []string // whole
	endings []string
}{
	// Throttled: the SDK has tried again already, within its own bounds.
	{kind: fault.Transient, codes: []string{"SlowDown", "PriorRequestNotComplete", "RequestLimitExceeded"}, endings: []string{
		"Throttling", "ThrottlingException", "TooManyRequestsException", "ThrottledException", "RequestThrottled",
	}},
	// In the middle of another change: passes.
	{kind: fault.Transient, codes: []string{
		"InvalidUserGroupState", "InvalidUserState", "InvalidReplicationGroupState", "UpdateInProgressException",
		"DistributionNotDisabled", "ResourceNotDisabled", "OperationAborted", "ServiceNotActiveException", "ResourceInUse",
	}},
	// Changed by another since it was read.
	{kind: fault.Conflict, codes: []string{"PreconditionFailed", "InvalidIfMatchVersion", "ConditionalRequestConflict"}, endings: []string{
		"ConflictException", "AlreadyExists", "AlreadyExistsException", "AlreadyExistsFault", "CNAMEAlreadyExists",
	}},
	{kind: fault.NotFound, codes: []string{"NoSuchBucket", "NoSuchKey", "NoSuchEntity", "NotFound", "AccessPointNotFound"}, endings: []string{
		"NotFoundException", "NotFound", "NotFoundFault", "EntityNotFound",
	}},
	// A quota: more of the same does not help, a person does.
	{kind: fault.Stalled, codes: []string{"LimitExceededException"}, endings: []string{
		"QuotaExceeded", "QuotaExceededFault", "QuotaExceededException", "LimitExceeded",
	}},
	{kind: fault.Invalid, codes: []string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "ValidationError"}, endings: []string{
		"ValidationException", "InvalidParameterValue", "InvalidParameterCombination", "InvalidArgument",
	}},
}

// failure gives an error of AWS its kind and says what was being done. nil stays nil.
func failure(what string, err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	var api smithy.APIError
	if errors.As(err, &known) || !errors.As(err, &api) {
		return fmt.Errorf("%s: %w", what, err)
	}
	kind := kindOf(api.ErrorCode())
	e := fault.Errorf(kind, "%s: %w", what, err)
	switch kind {
	case fault.Stalled:
		e = e.WithHint("a quota of the account is reached: ask AWS to raise it, or open another cell")
	case fault.Invalid:
		if strings.HasPrefix(api.ErrorCode(), "AccessDenied") {
			e = e.WithHint("the role of the control plane lacks this permission: run gitopsd platform up")
		}
	}
	return e
}

func kindOf(code string) fault.Kind {
	for _, k := range kinds {
		if slices.Contains(k.codes, code) || slices.ContainsFunc(k.endings, func(end string) bool { return strings.HasSuffix(code, end) }) {
			return k.kind
		}
	}
	return fault.Transient
}

// absent reports whether the error says that what was asked for is not there.
func absent(err error) bool { return hasCode(err, fault.NotFound) }

// hasCode reports whether AWS answered with an error of the kind.
func hasCode(err error, kind fault.Kind) bool {
	var api smithy.APIError
	return errors.As(err, &api) && kindOf(api.ErrorCode()) == kind
}

// isCode reports whether AWS answered with an error of this code.
func isCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}
