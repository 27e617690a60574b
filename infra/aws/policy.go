package aws

import (
	"encoding/json"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Statement is one statement of a policy.
type Statement struct {
	Sid       string
	Deny      bool
	Principal map[string]any // "Service" or "AWS" → one or more; nil in a role's policy
	Actions   []string
	Resources []pulumi.StringInput // none in a trust policy
	Condition map[string]any       // values may be inputs, at any depth
}

// Policy returns the document of the statements.
func Policy(statements ...Statement) pulumi.StringOutput {
	list := make(pulumi.Array, len(statements))
	for i, st := range statements {
		m := pulumi.Map{"Effect": pulumi.String("Allow"), "Action": pulumi.ToStringArray(st.Actions)}
		if st.Deny {
			m["Effect"] = pulumi.String("Deny")
		}
		if st.Sid != "" {
			m["Sid"] = pulumi.String(st.Sid)
		}
		if st.Principal != nil {
			m["Principal"] = pulumi.Any(st.Principal)
		}
		if len(st.Resources) > 0 {
			all := make(pulumi.StringArray, len(st.Resources))
			copy(all, st.Resources)
			m["Resource"] = all
		}
		if st.Condition != nil {
			m["Condition"] = pulumi.Any(st.Condition)
		}
		list[i] = m
	}
	doc := pulumi.Map{"Version": pulumi.String("2012-10-17"), "Statement": list}
	return JSON(doc)
}

// JSON returns a value as JSON, once all in it is known.
func JSON(v any) pulumi.StringOutput {
	return pulumi.Any(v).ApplyT(func(v any) (string, error) {
		b, err := json.Marshal(v)
		return string(b), err
	}).(pulumi.StringOutput)
}

// Trust lets services take on a role.
func Trust(account string, services ...string) pulumi.StringOutput {
	return Policy(Statement{
		Principal: map[string]any{"Service": services},
		Actions:   []string{"sts:AssumeRole"},
		Condition: map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": account}},
	})
}
