package s3_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/objectstore/s3"
	"github.com/stretchr/testify/require"
)

var write = flag.Bool("write", false, "write the table of operations to docs")

const table = "../../docs/s3-operations.md"

// TestOperationsTable keeps the table in docs true.
func TestOperationsTable(t *testing.T) {
	var served, refused strings.Builder
	count := 0
	for _, o := range s3.Operations() {
		request := fmt.Sprintf("`%s /%s`", o.Method, map[s3.Resource]string{s3.Service: "", s3.Bucket: "bucket", s3.Object: "bucket/key"}[o.Resource])
		if o.Query != "" {
			request = strings.TrimSuffix(request, "`") + "?" + o.Query + "`"
		}
		if o.Header != "" {
			request += " with " + strings.ToLower(o.Header)
		}
		if o.Unsupported != "" {
			fmt.Fprintf(&refused, "| %s | %s | %s |\n", o.Name, request, o.Unsupported)
			continue
		}
		count++
		fmt.Fprintf(&served, "| %s | %s |\n", o.Name, request)
	}
	want := "# S3's operations\n\nWritten by `make generate` from the table that requests are looked up in (`s3.Operations`). " +
		"The reference is https://docs.aws.amazon.com/AmazonS3/latest/API/.\n\n" +
		fmt.Sprintf("## Served: %d\n\n| operation | request |\n|---|---|\n", count) + served.String() +
		"\n## Answered as NotImplemented\n\n| operation | request | because |\n|---|---|---|\n" + refused.String()
	if *write {
		require.NoError(t, os.WriteFile(table, []byte(want), 0o644))
	}
	have, err := os.ReadFile(table)
	require.NoError(t, err, "run make generate")
	require.Equal(t, want, string(have), "run make generate, and commit what it writes")
}
