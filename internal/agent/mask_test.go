package agent

import "testing"

func TestMask(t *testing.T) {
	t.Parallel()
	mask := maskOf(map[string]string{
		"DATABASE_URL": "postgres://t_acme:p%40ssword@127.0.0.1:5432/t_acme",
		"STRIPE_KEY":   "sk_live_0123456789",
		"CERT":         "first line\nsecond line\n",
		"SHORT":        "on",
	})
	for text, want := range map[string]string{
		"dial postgres://t_acme:p%40ssword@127.0.0.1:5432/t_acme failed": "dial *** failed",
		"password p@ssword is wrong, so is p%40ssword":                   "password *** is wrong, so is ***",
		"key=sk_live_0123456789":                                         "key=***",
		"second line":                                                    "***",
		"the light is on":                                                "the light is on",
	} {
		if got := mask.Replace(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
