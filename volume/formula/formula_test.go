package formula_test

import (
	"strings"
	"testing"

	"github.com/kintoun/kintoun/volume/formula"
	"github.com/stretchr/testify/require"
)

var variables = formula.Variables{
	"volume":       {"size": 10, "display_name": "data", "nothing": nil},
	"stats":        {"free_capacity_gb": 35.5, "total_capacity_gb": int64(100), "storage_protocol": "file"},
	"extra":        {"tier": "7", "multiattach": "<is> True"},
	"capabilities": {"thin_provisioning_support": true, "tier": "gold"},
}

// known are those, and whatever begins with extra and qos, as the scheduler has it.
func known(scope, name string) bool {
	return scope == "extra" || scope == "qos" || name == "none" || name == "nothing" || variables.Has(scope, name)
}

func TestWhatFormulasMean(t *testing.T) {
	for text, want := range map[string]any{
		"55":                                     55.0,
		"1.5 + 2 * 3":                            7.5,
		"7 / 2":                                  3.5,
		"2 ^ 3 ^ 2":                              512.0, // from the right
		"-2 ^ 2":                                 -4.0,
		"2 * -3":                                 -6.0,
		"10 - 4 - 3":                             3.0,
		"(1 + 2) * 3":                            9.0,
		"abs(-3)":                                3.0,
		"max(1, volume.size)":                    10.0,
		"min(4, 3, 2) + 1":                       3.0,
		"max(1, 2 > 1 and 5)":                    5.0,
		"1 < 2 < 3":                              true,
		"3 > 2 > 2":                              false,
		"1 <> 2":                                 true,
		"not 1 == 0":                             true, // (not 1) == 0
		"!0":                                     true,
		"NOT not 5":                              true,
		"volume.size < 500":                      true,
		"volume.size >= 5 && 3":                  3.0,
		"0 or 7":                                 7.0,
		"0 || 0":                                 0.0,
		"1 AND 1 AND 0":                          0.0, // Cinder's looks at the first two
		"1 and 0 or 1":                           1.0,
		"(volume.size < 5) ? 100 : 50":           50.0,
		"volume.size >= 5 ? 100 : 25":            100.0,
		"0 and 0 ? 1 : 2":                        0.0, // a choice binds more than and
		"(volume.size < 5) * 100":                0.0,
		"1 ? 2 : (1 / 0)":                        2.0, // what is not chosen is not computed
		"'7' == 7":                               true,
		"extra.tier > 5":                         true,
		"extra.multiattach == '<is> True'":       true,
		"capabilities.tier == \"gold\"":          true,
		"capabilities.tier != 7":                 true,
		"capabilities.tier == 7":                 false,
		"'a' < 'b'":                              true,
		"capabilities.thin_provisioning_support": true,
		"capabilities.thin_provisioning_support == True":       true,
		"capabilities.thin_provisioning_support == 1":          true,
		"100 * stats.free_capacity_gb/stats.total_capacity_gb": 35.5,
		"stats.storage_protocol == 'file' ? 1 : 0":             1.0,
		"''":           "",
		"\"it's\"":     "it's",
		"  1\t+\n2 \r": 3.0,
	} {
		f, err := formula.Parse(text, known)
		require.NoError(t, err, text)
		got, err := f.Evaluate(variables)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		require.Equal(t, text, f.String())
	}
}

func TestWhatHolds(t *testing.T) {
	for text, want := range map[string]bool{"1": true, "0": false, "-0.5": true, "'x'": true, "''": false, "1 < 2": true, "false": false} {
		f, err := formula.Parse(text, known)
		require.NoError(t, err)
		got, err := f.Holds(nil)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
	}
}

func TestMistakesAreFoundBeforehand(t *testing.T) {
	for text, says := range map[string]string{
		"":                                 "missing",
		"volume.size <":                    "at character 14: something is missing at the end",
		"volume.size < 5 ? 1":              `":" is expected`,
		"(1":                               `")" is expected`,
		"1 2":                              `"2" is not expected there`,
		"1 ? 2 : 3 ? 4 : 5":                "parentheses",
		"1 ? 2 and 3 : 4":                  `":" is expected`,
		"gold":                             `there is no "gold"`,
		"nova.size < 5":                    `there is no "nova.size"; texts are in quotes`,
		"volume.sise < 5":                  `there is no "volume.sise"`,
		"volume.":                          "there is no",
		"volume.a.b":                       "there is no",
		"volume":                           "there is no",
		"1.2.3":                            "not a number",
		"1.":                               "not a number",
		"'open":                            "not understood",
		"1 & 2":                            "not understood",
		"1 = 2":                            "not understood",
		"abs(1, 2)":                        "abs of 2 values",
		"max(1)":                           "max of 1 values",
		"abs 1":                            `"(" is expected`,
		"pow(1, 2)":                        "there is no",
		")":                                "not expected",
		"1 +":                              "missing",
		strings.Repeat("(", 200):           "more than 100 levels",
		strings.Repeat("-", 200) + "1":     "more than 100 levels",
		strings.Repeat("!", 200) + "1":     "more than 100 levels",
		strings.Repeat("2^", 200) + "1":    "more than 100 levels",
		"1" + strings.Repeat(" + 1", 2000): "bytes are more than",
		"é":                                "not understood",
	} {
		_, err := formula.Parse(text, known)
		require.ErrorIs(t, err, formula.ErrSyntax, text)
		require.ErrorContains(t, err, says, text)
	}
}

func TestWhatHasNoValue(t *testing.T) {
	for _, text := range []string{
		"volume.none < 5", "volume.nothing == 1", "qos.iops > 1", "1 / 0", "1 + 'x'", "-'x'", "'x' < 1", "2 ^ 9999", "(0 - 1) ^ 0.5",
		"0 and volume.none", "1 or volume.none", "not volume.none", "volume.none ? 1 : 2", "max(1, 'x')", "1 < 2 < volume.none",
	} {
		f, err := formula.Parse(text, known)
		require.NoError(t, err, text)
		_, err = f.Evaluate(variables)
		require.ErrorIs(t, err, formula.ErrValue, text)
		require.ErrorContains(t, err, "\""+text+"\"", "it says which formula")
		holds, err := f.Holds(variables)
		require.Error(t, err)
		require.False(t, holds)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"volume.size < 5 ? 100 : 50", "max(1, 2) ^ 3 and not stats.free_capacity_gb", "'a' <> \"b\" || -(1.5/2)"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read, err := formula.Parse(text, known)
		if err != nil {
			require.ErrorIs(t, err, formula.ErrSyntax)
			return
		}
		value, err := read.Evaluate(variables)
		if err != nil {
			require.ErrorIs(t, err, formula.ErrValue)
			return
		}
		switch value.(type) {
		case bool, float64, string:
		default:
			t.Fatalf("%q is a %T", text, value)
		}
		// A formula in parentheses means the same, if that is not too long or deep.
		if inside, err := formula.Parse("("+text+")", known); err == nil {
			again, err := inside.Evaluate(variables)
			require.NoError(t, err)
			require.Equal(t, value, again)
		}
	})
}
