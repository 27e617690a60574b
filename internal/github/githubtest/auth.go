package githubtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// issued is a token that was given to the App.
type issued struct {
	expires time.Time
}

// identity is who asks.
type identity struct {
	Account
	app bool // an installation of the App
}

func (i identity) may(scope Scope) bool {
	return slices.Contains(i.Scopes, scope) && (scope != Checks || i.app)
}

var errBadCredentials = errors.New("Bad credentials")

// identify finds out who asks; nobody is nil without an error.
func (s *Server) identify(r *http.Request) (*identity, error) {
	token := r.Header.Get("Authorization")
	if token == "" {
		return nil, nil
	}
	kind, value, _ := strings.Cut(token, " ")
	switch strings.ToLower(kind) {
	case "bearer", "token":
	case "basic":
		_, password, ok := r.BasicAuth()
		if !ok {
			return nil, errBadCredentials
		}
		value = password
	default:
		return nil, errBadCredentials
	}
	if a, ok := s.options.Tokens[value]; ok {
		return &identity{Account: a}, nil
	}
	s.mu.Lock()
	given, ok := s.installed[value]
	s.mu.Unlock()
	if !ok || !time.Now().Before(given.expires) {
		return nil, errBadCredentials
	}
	app := s.options.App
	return &identity{Account: Account{Login: app.Slug + "[bot]", Scopes: app.Scopes, Nameless: true}, app: true}, nil
}

// isApp checks the App's own signature of a request, as GitHub does: RS256, our
// ID, issued not in the future, good for at most ten minutes.
func (s *Server) isApp(r *http.Request) bool {
	app := s.options.App
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	parts := strings.Split(token, ".")
	if app == nil || !ok || len(parts) != 3 {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(app.Key, crypto.SHA256, sum[:], signature) != nil {
		return false
	}
	var claims struct {
		Issuer  string  `json:"iss"`
		Issued  float64 `json:"iat"`
		Expires float64 `json:"exp"`
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		return false
	}
	now := float64(time.Now().Unix())
	return claims.Issuer == strconv.FormatInt(app.ID, 10) && claims.Issued <= now+60 && claims.Expires > now && claims.Expires-claims.Issued <= 600
}

// home is the App's own page, where what it shows leads to unless it says otherwise.
func (a *App) home(s *Server) string { return s.URL() + "/apps/" + a.Slug }

func (s *Server) findInstallation(c *call) answer {
	if !s.isApp(c.Request) {
		return problem(http.StatusUnauthorized, "A JSON web token could not be decoded")
	}
	app := s.options.App
	return ok(object{
		"id": app.Installation, "account": s.user(s.owner), "repository_selection": "selected",
		"access_tokens_url": s.URL() + "/app/installations/" + strconv.FormatInt(app.Installation, 10) + "/access_tokens",
		"repositories_url":  s.URL() + "/installation/repositories",
		"html_url":          s.web("/settings/installations"),
		"app_id":            app.ID, "target_id": 1, "target_type": "Organization", "permissions": object{"statuses": "write"},
		"events": []string{"push"}, "created_at": stamp(second()), "updated_at": stamp(second()), "single_file_name": nil,
		"app_slug": app.Slug, "suspended_by": nil, "suspended_at": nil,
	})
}

func (s *Server) createToken(c *call) answer {
	app := s.options.App
	switch {
	case !s.isApp(c.Request):
		return problem(http.StatusUnauthorized, "A JSON web token could not be decoded")
	case c.PathValue("installation_id") != strconv.FormatInt(app.Installation, 10):
		return notFound()
	}
	var in struct {
		Repositories []string `json:"repositories"`
	}
	if !c.decode(&in) || (len(in.Repositories) > 0 && !slices.Contains(in.Repositories, s.name)) {
		return problem(http.StatusUnprocessableEntity, "There is at least one repository that does not exist or is not accessible to the parent installation.")
	}
	life := app.TokenLife
	if life == 0 {
		life = time.Hour
	}
	token, expires := "ghs_"+rand.Text(), second().Add(life)
	s.mu.Lock()
	s.installed[token] = issued{expires: expires}
	s.mu.Unlock()
	return answer{status: http.StatusCreated, body: object{"token": token, "expires_at": stamp(expires)}}
}

// RevokeTokens makes the tokens that were given to the App invalid.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.installed)
}

func (s *Server) whoAmI(c *call) answer {
	if c.who.Nameless {
		return problem(http.StatusForbidden, "Resource not accessible by integration")
	}
	user := s.user(c.who.Login)
	for _, name := range []string{"name", "company", "blog", "location", "email", "hireable", "bio"} {
		user[name] = nil
	}
	for _, name := range []string{"public_repos", "public_gists", "followers", "following"} {
		user[name] = 0
	}
	user["created_at"], user["updated_at"] = stamp(second()), stamp(second())
	user["user_view_type"] = "public"
	return ok(user)
}
