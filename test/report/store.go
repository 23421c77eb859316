// SPDX-License-Identifier: MIT

package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
)

// Store holds the results of this run and of earlier ones, so that a long measurement can be done in parts. The file has
// one JSON object for each result. A store is not safe for concurrent use.
type Store[T any] struct {
	// Results are in the order in which they were added.
	Results []T
	file    *os.File // nil: results are not written
}

// OpenStore reads the results in the file at path, which it creates. An empty path gives a store without a file.
func OpenStore[T any](path string) (*Store[T], error) {
	s := &Store[T]{}
	if path == "" {
		return s, nil
	}
	var err error
	if s.file, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644); err != nil {
		return nil, err
	}
	for decoder := json.NewDecoder(s.file); ; {
		var result T
		err := decoder.Decode(&result)
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read results in %s: %w", path, err), s.file.Close())
		}
		s.Results = append(s.Results, result)
	}
}

// HasFile reports whether results outlive this run.
func (s *Store[T]) HasFile() bool { return s.file != nil }

// Add appends a result, and writes it to the file if there is one.
func (s *Store[T]) Add(result T) error {
	s.Results = append(s.Results, result)
	if s.file == nil {
		return nil
	}
	return json.NewEncoder(s.file).Encode(result)
}

// Choose returns the elements with a name that the regular expression of the flag -run matches as a whole, in their
// order. It is an error if there is none.
func Choose[T any](pattern string, all []T, name func(T) string) ([]T, error) {
	match, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, fmt.Errorf("-run %q: %w", pattern, err)
	}
	var chosen []T
	for _, each := range all {
		if match.MatchString(name(each)) {
			chosen = append(chosen, each)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-run %q: no name matches, -list shows the names", pattern)
	}
	return chosen, nil
}
