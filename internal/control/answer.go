// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"ebpf-upgrader/internal/api"
)

// answer writes the result of get, or its error. It drops the request of a client that has left.
func answer(w http.ResponseWriter, r *http.Request, get func(context.Context) (any, error)) {
	if hasLeft(r) {
		refuse(w, http.StatusServiceUnavailable, errLeft.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
	defer cancel()
	got, err := get(ctx)
	switch {
	case errors.Is(err, errNotOwn):
		refuse(w, http.StatusForbidden, err.Error())
	case errors.Is(err, ErrConfig):
		refuse(w, http.StatusUnprocessableEntity, err.Error())
	case isConflict(err):
		refuse(w, http.StatusConflict, err.Error())
	case err != nil:
		refuse(w, http.StatusServiceUnavailable, err.Error())
	default:
		writeJSON(w, http.StatusOK, got)
	}
}

func refuse(w http.ResponseWriter, code int, why string) {
	writeJSON(w, code, problem{api.SchemaVersion, why})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone is no error of ours
}
