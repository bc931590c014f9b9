package identity

import "github.com/kintoun/kintoun/internal/fault"

// The rules of who may do what here are few: an administrator may do everything, a user may see itself and its
// projects, and manage what is its own. Whoever may not is told so before anything is looked up, so that nobody
// learns what exists.

// RequireAdmin is [ErrForbidden] for all but administrators. The action is named in the message, as Keystone names
// its rules: "identity:list_users".
func (c *Caller) RequireAdmin(action string) error {
	if c != nil && c.IsAdmin() {
		return nil
	}
	return forbidden(action)
}

// RequireUser is [ErrForbidden] for all but the user and administrators.
func (c *Caller) RequireUser(userID, action string) error {
	if c.Is(userID) || c != nil && c.IsAdmin() {
		return nil
	}
	return forbidden(action)
}

// RequireSelf is [ErrForbidden] for all but the user, administrators too: nobody else may act in its name.
func (c *Caller) RequireSelf(userID, action string) error {
	if c.Is(userID) {
		return nil
	}
	return forbidden(action)
}

// Is says whether the caller is that user.
func (c *Caller) Is(userID string) bool { return c != nil && c.UserID != "" && c.UserID == userID }

func forbidden(action string) error {
	return fault.Wrap(ErrForbidden, "You are not authorized to perform the requested action: %s.", action)
}
