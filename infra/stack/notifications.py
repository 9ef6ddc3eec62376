"""Where alarms are sent: a topic with e-mail and Slack as its subscribers, a topic that exists, or both.

No code, no secret and no webhook.
"""

from aws_cdk import Annotations, Stack
from aws_cdk import aws_chatbot as chatbot
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.stack.context import Settings, Slack


class Notifications(Construct):
    """The topics that alarms publish to. An e-mail address has to confirm its subscription once.

    Attributes:
        topics: one of the stack, and the one that exists; the first alone unless only the second is chosen.
    """

    def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
        super().__init__(scope, id_)
        email, slack, existing = settings.alarm_email, settings.slack, settings.alarm_topic_arn
        self.topics: list[sns.ITopic] = []
        if email or slack or not existing:
            self.topics.append(self._topic(email, slack))
        if existing:
            self.topics.append(sns.Topic.from_topic_arn(self, "Existing", existing))
        if not (email or slack or existing) and settings.target.has_composite_alarms:
            Annotations.of(self).add_warning_v2(
                "arcade-jobs:nobody-is-told",
                "alarms: nobody is told; set alarmEmail, slackWorkspaceId and slackChannelId, or alarmTopicArn under"
                f" stages.{settings.stage} in cdk.json",
            )

    def _topic(self, email: str | None, slack: Slack | None) -> sns.Topic:
        stack = Stack.of(self)
        topic = sns.Topic(self, "Topic", display_name=stack.stack_name, enforce_ssl=True)
        # A topic with a policy of its own no longer trusts the whole account: alarms have to be allowed by name.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                resources=[topic.topic_arn],
                conditions={
                    "StringEquals": {"aws:SourceAccount": stack.account},
                    "ArnLike": {"aws:SourceArn": f"arn:{stack.partition}:cloudwatch:*:{stack.account}:alarm:*"},
                },
            )
        )
        if email:
            topic.add_subscription(subscriptions.EmailSubscription(email))
        if slack:
            chatbot.SlackChannelConfiguration(
                self,
                "Slack",
                # One name and one configuration of a channel in an account, in whatever region.
                slack_channel_configuration_name=f"{stack.stack_name}-{stack.region}",
                slack_workspace_id=slack.workspace_id,
                slack_channel_id=slack.channel_id,
                notification_topics=[topic],
                # Without a guardrail the channel's commands could do all that an administrator can.
                guardrail_policies=[iam.ManagedPolicy.from_aws_managed_policy_name("CloudWatchReadOnlyAccess")],
            )
        return topic
