package swift

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/objectstore"
)

// User may log in without an identity service, as "Account:Name" with Key, at /auth/v1.0 (Swift's TempAuth).
type User struct {
	// Account is the first part of the login, and names the account AUTH_Account.
	Account, Name, Key string
	// Groups are ".admin" for who may do everything with the account, ".reseller_admin" for who may with every account, and
	// names that access control lists can give rights to. "Account:Name" and "Account" are always among those.
	Groups []string
}

func (u *User) login() string { return u.Account + ":" + u.Name }

func (u *User) caller(referrer string) objectstore.Caller {
	c := objectstore.Caller{
		UserName: u.Name, ProjectName: u.Account, Referrer: referrer,
		Roles: append([]string{u.login(), u.Account}, u.Groups...), Admin: slices.Contains(u.Groups, ".reseller_admin"),
	}
	if slices.Contains(u.Groups, ".admin") || c.Admin {
		c.Account = u.Account
	}
	return c
}

// tokenPrefix tells the tokens made here from an identity service's.
const tokenPrefix = "AUTH_tk"

// logins makes and knows the users' tokens: a login and when it ends, signed with a key that only this process has.
type logins struct {
	users []User
	key   [32]byte
	life  time.Duration
	now   func() time.Time
}

func newLogins(options Options) *logins {
	l := &logins{users: slices.Clone(options.Users), life: options.TokenLife, now: options.Now}
	_, _ = rand.Read(l.key[:]) // never fails
	return l
}

func (l *logins) sign(text string) []byte {
	mac := hmac.New(sha256.New, l.key[:])
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func (l *logins) token(u *User) (token string, expires time.Time) {
	expires = l.now().Add(l.life)
	text := strconv.FormatInt(expires.Unix(), 16) + " " + u.login()
	encode := base64.RawURLEncoding.EncodeToString
	return tokenPrefix + encode([]byte(text)) + "." + encode(l.sign(text)), expires
}

// user is whose token it is, if it is one and still holds.
func (l *logins) user(token string) (*User, bool) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(l.users) == 0 {
		return nil, false
	}
	body, signature, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return nil, false
	}
	mac, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !hmac.Equal(mac, l.sign(string(text))) {
		return nil, false
	}
	expiry, login, _ := strings.Cut(string(text), " ")
	until, err := strconv.ParseInt(expiry, 16, 64)
	if err != nil || l.now().Unix() >= until {
		return nil, false
	}
	return l.find(login)
}

func (l *logins) find(login string) (*User, bool) {
	i := slices.IndexFunc(l.users, func(u User) bool { return u.login() == login })
	if i < 0 {
		return nil, false
	}
	return &l.users[i], true
}

// login gives a user of the options a token, and says where the account is.
func (a *api) login(w http.ResponseWriter, r *http.Request) error {
	if len(a.options.Users) == 0 {
		return status(http.StatusNotFound)
	}
	first := func(names ...string) string {
		for _, n := range names {
			if v := r.Header.Get(n); v != "" {
				return v
			}
		}
		return ""
	}
	name, key := first("X-Auth-User", "X-Storage-User"), first("X-Auth-Key", "X-Storage-Pass")
	user, ok := a.logins.find(name)
	if !ok || subtle.ConstantTimeCompare([]byte(user.Key), []byte(key)) != 1 {
		account, _, split := strings.Cut(name, ":")
		if !split || account == "" {
			account = "unknown"
		}
		return &refusal{status: http.StatusUnauthorized, header: http.Header{"Www-Authenticate": {"Swift realm=" + strconv.Quote(account)}}}
	}
	token, expires := a.logins.token(user)
	h := w.Header()
	h.Set("X-Auth-Token", token)
	h.Set("X-Storage-Token", token)
	h.Set("X-Auth-Token-Expires", strconv.Itoa(int(expires.Sub(a.options.Now()).Seconds())))
	h.Set("X-Storage-Url", a.publicURL(r)+"/v1/"+escapePath(reseller+user.Account))
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
	return nil
}

// publicURL is where clients reach this API.
func (a *api) publicURL(r *http.Request) string {
	if a.options.PublicURL != "" {
		return strings.TrimSuffix(a.options.PublicURL, "/")
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}
