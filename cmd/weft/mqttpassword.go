package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/weft-mesh/weft/internal/password"
)

func mqttPasswordCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "mqtt-password", Short: "Read a password and print its hash, for a user of the embedded MQTT broker", Args: exactly(0),
		Long: `Read the password of a camera or another client that has no certificate, from
the terminal or the first line of standard input, and print the hash that stands
for it in weftd.yaml:

  mqtt:
    embedded: true
    users:
      - name: gate
        passwordHash: $2a$12$…
        publish: [cameras/gate]`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret, err := readPassword(cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			hash, err := password.Hash(secret)
			if err != nil {
				return err
			}
			return env.print(cmd.OutOrStdout(), map[string]string{"passwordHash": hash}, func(p *page) { p.linef("%s", hash) })
		},
	}
}

// readPassword reads a password twice from a terminal, which does not show it,
// or once from anything else.
func readPassword(in io.Reader, prompt io.Writer) ([]byte, error) {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		ask := func(what string) ([]byte, error) {
			fmt.Fprint(prompt, what)
			b, err := term.ReadPassword(int(f.Fd()))
			fmt.Fprintln(prompt)
			return b, err
		}
		first, err := ask("Password: ")
		if err != nil {
			return nil, err
		}
		again, err := ask("Again: ")
		if err == nil && !bytes.Equal(first, again) {
			err = errors.New("the two passwords differ")
		}
		return first, err
	}
	line, err := bufio.NewReader(io.LimitReader(in, 4<<10)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	line = bytes.TrimRight(line, "\r\n")
	if len(line) == 0 {
		return nil, wrongUsage("no password on standard input: type it at a terminal, or `weft mqtt-password < file`")
	}
	return line, nil
}
