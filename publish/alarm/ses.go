package alarm

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"

	"github.com/qsync/qsync/publish/cloudfront"
	"github.com/qsync/qsync/publish/internal/amazon"
)

// SES is Amazon's Simple Email Service in a region: a [Sender].
//
// It gives mails a Message-ID of its own, so nobody can drop a second copy by that. The
// header X-Qsync-Alarm keeps the ID; a second copy there is only after a crash, or an
// answer that was lost.
type SES struct {
	api    *sesv2.Client
	region string
	from   string
}

// sesTimeout is how long a request may take.
const sesTimeout = 30 * time.Second

// NewSES returns the service. It reads the AWS configuration, and asks nothing.
func NewSES(region, from string) (*SES, error) {
	config, err := cloudfront.Config(context.Background()) // it reads files and no more
	if err != nil {
		return nil, err
	}
	api := sesv2.NewFromConfig(config, func(o *sesv2.Options) { o.Region = region })
	return &SES{api, region, from}, nil
}

// String implements [Sender].
func (s *SES) String() string { return "SES in " + s.region }

// Send implements [Sender].
func (s *SES) Send(ctx context.Context, m *Mail, to string) error {
	msg, err := m.message(s.from, to)
	if err != nil {
		return err
	}
	var raw bytes.Buffer
	if _, err := msg.WriteTo(&raw); err != nil {
		return fmt.Errorf("write the mail: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, sesTimeout)
	defer cancel()
	_, err = s.api.SendEmail(ctx, &sesv2.SendEmailInput{
		FromEmailAddress: aws.String(s.from),
		Destination:      &types.Destination{ToAddresses: []string{to}},
		Content:          &types.EmailContent{Raw: &types.RawMessage{Data: raw.Bytes()}},
	})
	return amazon.Explain(err, "SES", "ses", "to the agent's user or role, and ses:SendRawEmail", map[string]string{
		"MessageRejected": "verify the address or the domain of from: in this region; an account in the sandbox needs that of to: as well",
	})
}
