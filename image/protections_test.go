package image_test

import (
	"strings"
	"testing"

	"github.com/kintoun/kintoun/image"
	"github.com/stretchr/testify/require"
)

const protectionsFile = `
# As Glance's example.
[^x_billing_code_.*]
create = admin, Billing
read = admin,billing,member
update : admin
delete = !

; everything else
[.*]
Create = @
read = @
update = @
delete = @
`

func TestProtectionsAreRead(t *testing.T) {
	all, err := image.ReadProtections(strings.NewReader(protectionsFile))
	require.NoError(t, err)
	require.Len(t, all, 2)
	first := all[0]
	require.Equal(t, "^x_billing_code_.*", first.Names.String())
	require.Equal(t, [][]string{{"admin", "Billing"}, {"admin", "billing", "member"}, {"admin"}, {}}, [][]string{first.Create, first.Read, first.Update, first.Delete})
	every := []string{image.AnyRole}
	require.Equal(t, [][]string{every, every, every, every}, [][]string{all[1].Create, all[1].Read, all[1].Update, all[1].Delete})
	none, err := image.ReadProtections(strings.NewReader(""))
	require.NoError(t, err)
	require.Empty(t, none)
	for text, why := range map[string]string{
		"read = @":                            "line 1: \"read = @\" is before the first [section]",
		"[a\nread = @":                        "line 1: \"[a\" is no [section]",
		"[]":                                  "no [section]",
		"[(]":                                 "missing closing )",
		"[a]\n[a]":                            "line 2: another section is \"a\"",
		"[a]\nwrite = @":                      "\"write\" is not create, read, update or delete",
		"[a]\nread":                           "no operation = roles",
		"[a]\nread = @\nread = @":             "line 3: read is said twice",
		"[a]\nread = @,admin":                 "stand alone",
		"[a]\n#" + strings.Repeat("x", 70000): "too long",
	} {
		_, err := image.ReadProtections(strings.NewReader(text))
		require.ErrorContains(t, err, why)
	}
	_, err = image.ReadProtections(strings.NewReader(strings.Repeat("# much\n", 200000)))
	require.ErrorIs(t, err, image.ErrInvalid)
}

func FuzzReadProtections(f *testing.F) {
	f.Add(protectionsFile)
	f.Add("[a]\nread=!\n[b]]\ncreate:@")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := image.ReadProtections(strings.NewReader(text))
		if err != nil {
			require.Empty(t, all)
			return
		}
		for _, p := range all {
			p.Names.MatchString("x_billing_code_7")
		}
	})
}
