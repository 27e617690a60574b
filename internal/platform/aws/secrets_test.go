package aws_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/gitopsd/gitopsd/internal/fault"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
)

func TestSecrets(t *testing.T) {
	c := awstest.New(t, awstest.StartMoto(t)).Config()
	s := aws.NewSecrets(c, owner)
	t.Run("of a tenant", func(t *testing.T) {
		if missing, err := s.Missing(t.Context(), "acme", []string{"A", "B"}); err != nil || !slices.Equal(missing, []string{"A", "B"}) {
			t.Errorf("before there are any: %v, %v", missing, err)
		}
		for range 2 {
			if err := s.Set(t.Context(), "acme", "A", "va\"lue"); err != nil {
				t.Fatal(err)
			}
		}
		if missing, err := s.Missing(t.Context(), "acme", []string{"A", "B"}); err != nil || !slices.Equal(missing, []string{"B"}) {
			t.Errorf("missing: %v, %v", missing, err)
		}
		got, there, err := s.Load(t.Context(), "acme")
		var env map[string]string
		if err != nil || !there || json.Unmarshal([]byte(got.Environment), &env) != nil || env["A"] != "va\"lue" || got.ControlKey == "" {
			t.Errorf("loaded: %t, %v, environment %v", there, err, env)
		}
		for range 2 {
			if err := s.Remove(t.Context(), "acme"); err != nil {
				t.Fatal(err)
			}
		}
		if arn, err := s.ARN(t.Context(), "acme"); err != nil || arn != "" {
			t.Errorf("after it was removed: %q, %v", arn, err)
		}
	})
	t.Run("from many sides", func(t *testing.T) { manySecrets(t, s) })
	t.Run("of somebody else", func(t *testing.T) {
		api := secretsmanager.NewFromConfig(c)
		if _, err := api.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
			Name: awssdk.String(s.Name("taken")), SecretString: awssdk.String("{}"),
		}); err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"set": s.Set(t.Context(), "taken", "A", "x"), "removed": s.Remove(t.Context(), "taken"),
		} {
			if !fault.Is(err, fault.Conflict) {
				t.Errorf("%s: %v, want Conflict", what, err)
			}
		}
	})
	t.Run("that cannot be", func(t *testing.T) {
		for name, value := range map[string]string{"A B": "x", "1A": "x", "": "x", "A": "\x00", "BIG": strings.Repeat("x", 70_000)} {
			if err := s.Set(t.Context(), "acme", name, value); !fault.Is(err, fault.Invalid) {
				t.Errorf("secret %q: %v, want Invalid", name, err)
			}
		}
	})
}

// Writers at the same time do not lose each other's secrets.
func manySecrets(t *testing.T, s *aws.Secrets) {
	if err := s.Set(t.Context(), "busy", "FIRST", "x"); err != nil {
		t.Fatal(err)
	}
	var names []string
	var group sync.WaitGroup
	for i := range 6 {
		name := fmt.Sprintf("S%d", i)
		names = append(names, name)
		group.Go(func() {
			err := s.Set(t.Context(), "busy", name, "x")
			for range 20 { // as a task is tried again
				if !fault.Is(err, fault.Conflict) {
					break
				}
				err = s.Set(t.Context(), "busy", name, "x")
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if missing, err := s.Missing(t.Context(), "busy", append(names, "FIRST")); err != nil || len(missing) > 0 {
		t.Errorf("lost: %v, %v", missing, err)
	}
}
