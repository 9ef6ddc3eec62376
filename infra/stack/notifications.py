"""Where alarms are sent: one topic, with e-mail and Slack as its subscribers. No code, no secret and no webhook."""

from aws_cdk import Stack
from aws_cdk import aws_chatbot as chatbot
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.stack.context import Slack


class Notifications(Construct):
    """The topic that alarms publish to, and its subscribers. An e-mail address has to confirm its subscription once."""

    def __init__(self, scope: Construct, id_: str, *, email: str | None, slack: Slack | None) -> None:
        super().__init__(scope, id_)
        stack = Stack.of(self)
        self.topic = sns.Topic(self, "Topic", display_name=stack.stack_name, enforce_ssl=True)
        # A topic with a policy of its own no longer trusts the whole account: alarms have to be allowed by name.
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                resources=[self.topic.topic_arn],
                conditions={
                    "StringEquals": {"aws:SourceAccount": stack.account},
                    "ArnLike": {"aws:SourceArn": f"arn:{stack.partition}:cloudwatch:*:{stack.account}:alarm:*"},
                },
            )
        )
        if email:
            self.topic.add_subscription(subscriptions.EmailSubscription(email))
        if slack:
            chatbot.SlackChannelConfiguration(
                self,
                "Slack",
                slack_channel_configuration_name=stack.stack_name,
                slack_workspace_id=slack.workspace_id,
                slack_channel_id=slack.channel_id,
                notification_topics=[self.topic],
                # Without a guardrail the channel's commands could do all that an administrator can.
                guardrail_policies=[iam.ManagedPolicy.from_aws_managed_policy_name("CloudWatchReadOnlyAccess")],
            )
