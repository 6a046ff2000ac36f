package security

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-msk-iam-sasl-signer-go/signer"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// OAuth is how the mechanism oauthbearer gets a token from an identity provider, by the
// client credentials grant (RFC 6749, 4.4).
type OAuth struct {
	TokenURL         string // "": SASL has the token
	ClientID         string
	ClientSecret     string
	ClientSecretFile string // holds the secret instead
	Scopes           []string
	Extensions       []string // pairs name=value that brokers are sent with each token (KIP-342)
}

// oauth returns the function that gives the token for each authentication.
func (s SASL) oauth() func(context.Context) (oauth.Auth, error) {
	fetch := s.token()
	extensions := make(map[string]string, len(s.OAuth.Extensions))
	for _, pair := range s.OAuth.Extensions {
		name, value, _ := strings.Cut(pair, "=")
		extensions[name] = value
	}
	return func(ctx context.Context) (oauth.Auth, error) {
		token, err := fetch(ctx)
		return oauth.Auth{Token: token, Extensions: extensions}, err
	}
}

func (s SASL) token() func(context.Context) (string, error) {
	switch {
	case s.Mechanism == "aws-msk-iam":
		return (&tokens{fetch: func(ctx context.Context) (string, time.Time, error) { return mskToken(ctx, s.AWSRegion) }}).token
	case s.OAuth.TokenURL != "":
		return (&tokens{fetch: func(ctx context.Context) (string, time.Time, error) { return grantedToken(ctx, s.OAuth) }}).token
	}
	return func(context.Context) (string, error) {
		token, err := Secret("kafka.sasl.token_file", s.TokenFile, s.Token)
		token = strings.TrimSpace(token)
		if err == nil && strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			err = errors.New("kafka.sasl: what is given as a token holds what no token can: blanks, line breaks or the like")
		}
		return token, err
	}
}

// tokenMargin is how long before their end tokens are fetched anew, or after half of their
// life if that is shorter: a broker ends the session with the token, and its clock may be
// ahead.
const tokenMargin = 5 * time.Minute

// tokens keeps a token for several connections: they are opened together, and the issuer
// should not be asked once for each.
type tokens struct {
	fetch func(context.Context) (token string, end time.Time, err error) // a zero end: unknown

	mu    sync.Mutex
	value string
	until time.Time
}

func (t *tokens) token(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Before(t.until) {
		return t.value, nil
	}
	value, end, err := t.fetch(ctx)
	if err != nil {
		return "", err
	}
	t.value, t.until = value, time.Time{}
	if life := end.Sub(now); !end.IsZero() && life > 0 {
		t.until = end.Add(-min(tokenMargin, life/2))
	}
	return value, nil
}

// grantedToken asks the token endpoint (RFC 6749, 4.4).
func grantedToken(ctx context.Context, o OAuth) (string, time.Time, error) {
	password, err := Secret("kafka.sasl.oauth.client_secret_file", o.ClientSecretFile, o.ClientSecret)
	if err != nil {
		return "", time.Time{}, err
	}
	c := clientcredentials.Config{ClientID: o.ClientID, ClientSecret: password, TokenURL: o.TokenURL, Scopes: o.Scopes}
	token, err := c.Token(ctx)
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		// The error's own text holds the whole body, which can be a page.
		why := refused.Response.Status
		if refused.ErrorCode != "" {
			why += ", " + refused.ErrorCode
		}
		if refused.ErrorDescription != "" {
			why += ", " + refused.ErrorDescription
		}
		err = fmt.Errorf("it answers %.300q; check client_id, client_secret and scopes", why)
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("kafka.sasl.oauth.token_url %s gives no token: %w", o.TokenURL, err)
	}
	return token.AccessToken, token.Expiry, nil
}

// mskToken signs a token with the credentials of AWS's default chain: environment, files, web identity, container,
// instance.
func mskToken(ctx context.Context, region string) (string, time.Time, error) {
	token, end, err := signer.GenerateAuthToken(ctx, region)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("kafka.sasl.mechanism aws-msk-iam: no token: %s; are there AWS credentials for this process?", strings.Join(strings.Fields(err.Error()), " "))
	}
	return token, time.UnixMilli(end), nil
}
