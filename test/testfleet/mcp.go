// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"ebpf-upgrader/selector"
)

// The messages of JSON-RPC 2.0 that MCP over stdio uses
// (modelcontextprotocol.io/specification/2025-06-18/basic).
type (
	rpcRequest struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	rpcResponse struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  any             `json:"result,omitempty"`
		Error   *rpcError       `json:"error,omitempty"`
	}
	rpcError struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
)

// The codes of JSON-RPC's errors.
const (
	rpcParse    = -32700
	rpcInvalid  = -32600
	rpcNoMethod = -32601
	rpcParams   = -32602
)

// message handles one line. Requests run concurrently; a notification has no answer.
func (c *session) message(line []byte) {
	var r rpcRequest
	if err := json.Unmarshal(line, &r); err != nil {
		c.answer(json.RawMessage("null"), nil, &rpcError{rpcParse, err.Error()})
		return
	}
	if r.ID == nil {
		return
	}
	c.running.Go(func() {
		result, failed := c.call(r)
		c.answer(r.ID, result, failed)
	})
}

func (c *session) answer(id json.RawMessage, result any, failed *rpcError) {
	line, err := json.Marshal(rpcResponse{"2.0", id, result, failed})
	if err != nil { // every field is a plain value
		c.s.exit(exitBroken, err.Error())
	}
	c.write(line)
}

func (c *session) call(r rpcRequest) (any, *rpcError) {
	switch r.Method {
	case "initialize":
		return c.initialize(r.Params)
	case "ping":
		return struct{}{}, nil
	}
	if c.initialized() == 0 {
		return nil, &rpcError{rpcInvalid, "the session is not initialized"}
	}
	switch r.Method {
	case "tools/list":
		return map[string]any{"tools": tools()}, nil
	case "tools/call":
		return c.tool(r.Params)
	}
	return nil, &rpcError{rpcNoMethod, fmt.Sprintf("no method %q", r.Method)}
}

func (c *session) initialized() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handOff.Initialized
}

func (c *session) initialize(params json.RawMessage) (any, *rpcError) {
	var request struct {
		ProtocolVersion string `json:"protocolVersion"`
	}
	if err := json.Unmarshal(params, &request); err != nil {
		return nil, &rpcError{rpcParams, err.Error()}
	}
	c.mu.Lock()
	c.handOff.Initialized++
	c.mu.Unlock()
	return map[string]any{
		"protocolVersion": request.ProtocolVersion,
		"capabilities":    map[string]any{"tools": struct{}{}},
		"serverInfo":      map[string]any{"name": Name, "version": fmt.Sprint(c.s.Generation)},
	}, nil
}

// tools describes what a client can call.
func tools() []map[string]any {
	tool := func(name, description string, properties map[string]any) map[string]any {
		schema := map[string]any{"type": "object", "properties": properties}
		return map[string]any{"name": name, "description": description, "inputSchema": schema}
	}
	return []map[string]any{
		tool("echo", "answers with its text", map[string]any{"text": map[string]any{"type": "string"}}),
		tool("count", "counts its calls, over upgrades, too", map[string]any{}),
		tool("wait", "answers after some milliseconds", map[string]any{"ms": map[string]any{"type": "integer"}}),
		tool("whoami", "says which image serves", map[string]any{}),
	}
}

// Whoami is the result of the tool "whoami", as JSON text.
type Whoami struct {
	PID        selector.PID   `json:"pid"`
	Generation int            `json:"generation"`
	Image      selector.Image `json:"image"`
	// Initialized is how often the session was initialized.
	Initialized int `json:"initialized"`
}

func (c *session) tool(params json.RawMessage) (any, *rpcError) {
	var call struct {
		Name      string `json:"name"`
		Arguments struct {
			Text string `json:"text"`
			MS   int    `json:"ms"`
		} `json:"arguments"`
	}
	if err := json.Unmarshal(params, &call); err != nil {
		return nil, &rpcError{rpcParams, err.Error()}
	}
	var text string
	switch call.Name {
	case "echo":
		text = call.Arguments.Text
	case "count":
		c.mu.Lock()
		c.handOff.Counted++
		text = fmt.Sprint(c.handOff.Counted)
		c.mu.Unlock()
	case "wait":
		c.s.report(Event{Kind: Calling})
		time.Sleep(time.Duration(call.Arguments.MS) * time.Millisecond)
	case "whoami":
		image, _ := imageOf("/proc/self/exe")
		who, err := json.Marshal(Whoami{selector.PID(os.Getpid()), c.s.Generation, image, c.initialized()})
		if err != nil {
			return nil, &rpcError{rpcInvalid, err.Error()}
		}
		text = string(who)
	default:
		return nil, &rpcError{rpcParams, fmt.Sprintf("no tool %q", call.Name)}
	}
	return map[string]any{"content": []any{map[string]any{"type": "text", "text": text}}}, nil
}
