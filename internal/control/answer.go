// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"ebpf-upgrader/internal/api"
)

// refusal is the error of a request that is turned down, with the code of the answer.
type refusal struct {
	code int
	why  string
}

func (r refusal) Error() string { return r.why }

// readBody reads the body of a request, without fields that this version does not know. An empty body is the zero T.
func readBody[T any](r *http.Request) (request T, err error) {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&request)
	switch {
	case errors.Is(err, io.EOF):
		return request, nil
	case err == nil && decoder.More():
		err = errors.New("more than one object")
	}
	if err != nil {
		err = refusal{http.StatusBadRequest, "read request: " + err.Error()}
	}
	return request, err
}

// answered gets the answer to a request of a peer.
type answered func(ctx context.Context, r *http.Request) (any, error)

// answer writes the result of get, or its error. It drops the request of a client that has left. Where the service ends before
// get has a result, the connection ends without an answer, as it does where the service ends a moment later.
func answer(get answered) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if hasLeft(r) {
			refuse(w, errLeft)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
		defer cancel()
		got, err := get(ctx, r)
		if err != nil && r.Context().Err() != nil {
			panic(http.ErrAbortHandler)
		}
		if err != nil {
			refuse(w, err)
			return
		}
		writeJSON(w, http.StatusOK, got)
	}
}

// refuse answers with an error.
func refuse(w http.ResponseWriter, err error) {
	code := http.StatusServiceUnavailable
	known, isKnown := errors.AsType[refusal](err)
	switch {
	case isKnown:
		code = known.code
	case errors.Is(err, ErrConfig):
		code = http.StatusUnprocessableEntity
	case isConflict(err):
		code = http.StatusConflict
	}
	writeJSON(w, code, problem{api.SchemaVersion, err.Error()})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone is no error of ours
}
