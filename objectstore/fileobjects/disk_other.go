//go:build unix && !linux

package fileobjects

import (
	"errors"
	"os"
)

func openNameless(string) (*os.File, error) { return nil, errors.ErrUnsupported }
func linkNameless(*os.File, string) error   { return errors.ErrUnsupported }
func preallocate(*os.File, int64) error     { return nil }
func writeBack(_ *os.File, _ int64, _ int)  {}
func uncache(*os.File)                      {}
