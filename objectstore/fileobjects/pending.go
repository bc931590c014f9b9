//go:build unix

package fileobjects

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// stock is how many pending numbers are made durable at once for files to come, so that most files need not wait for theirs.
const stock = 16

// patience is how many removed files are forgotten at once.
const patience = 256

// take returns a pending number that has no file.
func (s *Store) take() (int64, error) {
	s.mu.Lock()
	if last := len(s.spare) - 1; last >= 0 {
		number := s.spare[last]
		s.spare = s.spare[:last]
		s.mu.Unlock()
		return number, nil
	}
	s.mu.Unlock()
	numbers := fresh(stock)
	err := s.index.commit(func(t *transaction) error {
		for _, number := range numbers {
			if _, err := t.exec(insertPending, number); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	s.giveBack(numbers[1:]...)
	return numbers[0], nil
}

// giveBack keeps pending numbers for other files. No content ever had them: who has read a number in a row never finds another
// content's file under it.
func (s *Store) giveBack(numbers ...int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare = append(s.spare, numbers...)
}

// retire remembers removed files, until there are enough to forget them together.
func (s *Store) retire(numbers []int64) error {
	s.mu.Lock()
	s.retired = append(s.retired, numbers...)
	if len(s.retired) < patience {
		s.mu.Unlock()
		return nil
	}
	numbers = s.retired
	s.retired = nil
	s.mu.Unlock()
	return s.settle(numbers)
}

// settle makes the absence of files durable, and forgets that they were pending. On a full disk it is put off: nothing that
// makes room again may fail for it.
func (s *Store) settle(numbers []int64) error {
	if len(numbers) == 0 {
		return nil
	}
	err := s.forget(numbers)
	if errors.Is(err, syscall.ENOSPC) {
		s.mu.Lock()
		s.retired = append(s.retired, numbers...)
		s.mu.Unlock()
		return nil
	}
	return err
}

func (s *Store) forget(numbers []int64) error {
	dirs := map[string]bool{}
	for _, number := range numbers {
		dirs[s.path(files, fan(number))] = true
	}
	for dir := range dirs {
		if err := unlessMissing(syncDir(dir)); err != nil {
			return err
		}
	}
	return s.index.commit(func(t *transaction) error {
		for _, number := range numbers {
			if _, err := t.exec(deletePending, number); err != nil {
				return err
			}
		}
		return nil
	})
}

// repair removes the files that a killed process left.
func (s *Store) repair(ctx context.Context) error {
	numbers, err := s.index.pending(ctx)
	if err != nil {
		return err
	}
	for _, number := range numbers {
		if err := unlessMissing(os.Remove(s.file(number))); err != nil {
			return err
		}
	}
	return s.settle(numbers)
}

// emptyTmp removes what a killed process left there.
func (s *Store) emptyTmp() error {
	left, err := os.ReadDir(s.path(tmp))
	for _, entry := range left {
		err = errors.Join(err, unlessMissing(os.Remove(s.path(tmp, entry.Name()))))
	}
	return err
}
