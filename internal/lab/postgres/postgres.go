//go:build linux

// Package postgres runs a PostgreSQL server for a test, and the tests of a program again over it:
//
//	func TestOverPostgreSQL(t *testing.T) { postgres.Rerun(t, "Volume|Snapshot") }
//
//	func newCloud(t *testing.T) *cloud {
//		db, err := postgres.Or(ctx, sqlitedb.Memory) // a database of its own, of whatever kind the run is
//
// It needs Debian's postgresql; a server takes about 100 MiB and two seconds to start. It runs as nobody where this program is root,
// as which PostgreSQL refuses to, and listens on a Unix socket alone. What is in it is gone with a crash: it never waits for a disk.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

// variable names the server of the tests that run again.
const variable = "KINTOUN_TEST_POSTGRES"

// Rerun runs those tests of this program whose names match, but for the one that calls it and those named, in a process in which [Or]
// opens databases of a server that lasts as long.
func Rerun(t *testing.T, match string, but ...string) {
	t.Helper()
	if os.Getenv(variable) != "" {
		t.Fatal("this test is to be left out of those that run again: its name matches its own pattern")
	}
	source := start(t)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", match, "-test.skip", "^("+strings.Join(append(but, t.Name()), "|")+")$", "-test.count=1")
	cmd.Env = append(os.Environ(), variable+"="+source)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "over PostgreSQL: %s", out)
	require.NotContains(t, string(out), "no tests to run")
}

// Or opens an empty database: of the server of such a run, and by other otherwise.
func Or(ctx context.Context, other func(context.Context) (*sql.DB, error)) (*sql.DB, error) {
	source := os.Getenv(variable)
	if source == "" {
		return other(ctx)
	}
	name, err := create(ctx, source)
	if err != nil {
		return nil, err
	}
	return open(ctx, source+" dbname="+name)
}

// New starts a server that lasts as long as the test, and returns what opens one of its databases, as often as it is called.
func New(t testing.TB) func(context.Context) (*sql.DB, error) {
	t.Helper()
	source := start(t)
	name, err := create(t.Context(), source)
	require.NoError(t, err)
	return func(ctx context.Context) (*sql.DB, error) { return open(ctx, source+" dbname="+name) }
}

func create(ctx context.Context, source string) (name string, err error) {
	admin, err := open(ctx, source+" dbname=postgres")
	if err != nil {
		return "", err
	}
	name = "d" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err = admin.ExecContext(ctx, "CREATE DATABASE "+name+" STRATEGY wal_log")
	return name, errors.Join(err, admin.Close())
}

func open(ctx context.Context, source string) (*sql.DB, error) {
	db, err := sql.Open("pgx", source)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8)
	return db, errors.Join(db.PingContext(ctx))
}

// program finds one of the server's programs, which Debian keeps apart by version.
func program(t testing.TB, name string) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	require.NoError(t, err)
	if len(found) > 0 {
		return slices.Max(found)
	}
	labtest.RequireProgram(t, name, "postgresql")
	return name
}

// start runs a server until the test ends, and says how it is reached.
func start(t testing.TB) (source string) {
	t.Helper()
	initdb, server := program(t, "initdb"), program(t, "postgres")
	dir, err := os.MkdirTemp("", "postgres") // paths of sockets are short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	account := unprivileged(t, dir)
	data := filepath.Join(dir, "data")
	cmd := exec.CommandContext(t.Context(), initdb, "--no-sync", "--auth=trust", "--username=kintoun", "--encoding=UTF8", "--locale=C", "--pgdata="+data)
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: account}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)

	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	cmd = exec.Command(server, "-D", data, "-k", dir, "-h", "", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=300")
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: account}
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT) // at once
		_ = cmd.Wait()
		_ = log.Close()
	})
	source = fmt.Sprintf("host=%s user=kintoun", dir)
	require.Eventually(t, func() bool { return answers(t.Context(), source) }, time.Minute, 20*time.Millisecond, "PostgreSQL does not start: %s", log.Name())
	return source
}

func answers(ctx context.Context, source string) bool {
	db, err := open(ctx, source+" dbname=postgres")
	if db != nil {
		_ = db.Close()
	}
	return err == nil
}

// unprivileged gives the directory to nobody, as whom the server runs then; nil is this program's own user.
func unprivileged(t testing.TB, dir string) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	require.NoError(t, err)
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
	require.NoError(t, err)
	require.NoError(t, os.Chown(dir, int(uid), int(gid)))
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
