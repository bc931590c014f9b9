package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"golang.org/x/crypto/bcrypt"
)

const (
	// maxPassword is Keystone's max_password_length.
	maxPassword = 4096
	// bcryptTakes is how many bytes of a password bcrypt looks at.
	bcryptTakes = 72
)

// unauthorized is the one answer to everything that is wrong with who somebody claims to be.
func unauthorized() error {
	return fault.Wrap(ErrUnauthorized, "The request you have made requires authentication.")
}

func digest(password string) []byte {
	if len(password) <= bcryptTakes {
		return []byte(password)
	}
	// bcrypt would ignore the rest. In base64, as bcrypt implementations end at a NUL.
	sum := sha256.Sum256([]byte(password))
	return []byte(base64.StdEncoding.EncodeToString(sum[:]))
}

func (s *Service) hash(ctx context.Context, password string) (string, error) {
	if password == "" || len(password) > maxPassword {
		return "", fault.Wrap(ErrInvalid, "Password validation error: a password has 1 to %d bytes.", maxPassword)
	}
	if err := s.acquire(ctx); err != nil {
		return "", err
	}
	defer s.release()
	hash, err := bcrypt.GenerateFromPassword(digest(password), s.options.BcryptCost)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return string(hash), nil
}

// verify compares, in the same time whether hash is a user's or empty because there is no such user.
func (s *Service) verify(ctx context.Context, hash, password string) (bool, error) {
	if len(password) > maxPassword {
		return false, nil
	}
	if strings.HasPrefix(hash, randomPrefix) {
		return verifyRandom(hash, password), nil
	}
	if err := s.acquire(ctx); err != nil {
		return false, err
	}
	defer s.release()
	nobody := hash == ""
	if nobody {
		// The form of a hash that no known password has.
		hash = fmt.Sprintf("$2a$%02d$%s", s.options.BcryptCost, strings.Repeat("a", 21)+"u"+strings.Repeat("a", 31))
	}
	err := bcrypt.CompareHashAndPassword([]byte(hash), digest(password))
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, fmt.Errorf("compare password: %w", err)
	}
	return err == nil && !nobody, nil
}

// randomPrefix begins the hash of a random password.
const randomPrefix = "$sha256$"

// hashRandom hashes a password that was drawn from at least 128 random bits. Nobody finds such a one by trying, so
// unlike others' its hash need not be slow.
func hashRandom(password string) string {
	salt := rand.Text()
	return randomPrefix + salt + "$" + randomSum(salt, password)
}

func randomSum(salt, password string) string {
	sum := sha256.Sum256([]byte(salt + "$" + password))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// verifyRandom compares with a hash of [hashRandom]'s.
func verifyRandom(hash, password string) bool {
	salt, sum, _ := strings.Cut(strings.TrimPrefix(hash, randomPrefix), "$")
	return subtle.ConstantTimeCompare([]byte(sum), []byte(randomSum(salt, password))) == 1
}

func (s *Service) acquire(ctx context.Context) error {
	select {
	case s.hashing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Service) release() { <-s.hashing }
