package identity

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAccessKeys(t *testing.T) {
	ctx := t.Context()
	for what, end := range map[string]func(s *Service, m someone, id string) error{
		"deleted":       func(s *Service, _ someone, id string) error { return s.DeleteCredential(ctx, id) },
		"user deleted":  func(s *Service, m someone, _ string) error { return s.DeleteUser(ctx, m.user.ID) },
		"user disabled": func(s *Service, m someone, _ string) error { return disableUser(s, m.user.ID, true) },
		"project gone":  func(s *Service, m someone, _ string) error { return s.DeleteProject(ctx, m.project.ID) },
		"project off":   func(s *Service, m someone, _ string) error { return disableProject(s, m.project.ID, true) },
		"role taken":    func(s *Service, m someone, _ string) error { return s.Unassign(ctx, m.assignment()) },
	} {
		t.Run(what, func(t *testing.T) {
			s, _ := open(t, Options{})
			m := member(t, s, "m")
			_, err := s.AccessKey(ctx, "AK")
			require.ErrorIs(t, err, ErrNotFound)
			c, err := s.CreateCredential(ctx, Credential{UserID: m.user.ID, ProjectID: m.project.ID, Type: "ec2", Blob: `{"access": "AK", "secret": "SK"}`})
			require.NoError(t, err)
			for range 2 { // the second time from the cache
				key, err := s.AccessKey(ctx, "AK")
				require.NoError(t, err)
				require.Equal(t, "SK", key.Secret)
				require.Equal(t, m.user.ID, key.Caller.UserID)
				require.Equal(t, m.project.ID, key.Caller.ProjectID)
				require.True(t, key.Caller.HasRole("member"))
			}
			require.NoError(t, end(s, m, c.ID))
			key, err := s.AccessKey(ctx, "AK")
			require.Error(t, err)
			require.Nil(t, key)
		})
	}
}

func TestAccessKeysNeedTheirBlob(t *testing.T) {
	s, _ := open(t, Options{})
	m := member(t, s, "m")
	c, err := s.CreateCredential(t.Context(), Credential{UserID: m.user.ID, ProjectID: m.project.ID, Type: "ec2", Blob: `{"access": "AK"}`})
	require.NoError(t, err)
	_, err = s.AccessKey(t.Context(), "AK")
	require.ErrorIs(t, err, ErrNotFound, "a key without a secret opens nothing")
	_, err = s.UpdateCredential(t.Context(), c.ID, func(c *Credential) error { c.Blob = `{"access": "other", "secret": "s"}`; return nil })
	require.NoError(t, err)
	_, err = s.AccessKey(t.Context(), "AK")
	require.ErrorIs(t, err, ErrNotFound)
}
