<?php
// Sends a text through RabbitMQ. Returns once a queue holds the command; throws if none does.
//
//   composer require php-amqplib/php-amqplib
//   AMQP_HOST=broker.example AMQP_USER=shop AMQP_PASSWORD=... php publish_rabbitmq.php +6281234567890 'Your parcel is here'

declare(strict_types=1);

require __DIR__ . '/vendor/autoload.php';

use PhpAmqpLib\Connection\AMQPConnectionConfig;
use PhpAmqpLib\Connection\AMQPConnectionFactory;
use PhpAmqpLib\Message\AMQPMessage;

[, $to, $text] = $argv;
$queue = getenv('QUEUE') ?: 'sms';
$now = time();
// The same id, number and text within ten minutes are one message: try again under the same id.
$id = bin2hex(random_bytes(16));

$config = new AMQPConnectionConfig();
$config->setHost(getenv('AMQP_HOST'));
$config->setPort((int) (getenv('AMQP_PORT') ?: 5671));
$config->setUser(getenv('AMQP_USER'));
$config->setPassword(getenv('AMQP_PASSWORD'));
$config->setVhost(getenv('AMQP_VHOST') ?: 'sms');
$config->setIsSecure(true);
// Before 3.6 the line above alone speaks plain TCP all the same, password and all.
$config->setNetworkProtocol('tls');
$config->setSslVerify(true);
$config->setSslVerifyName(true);
if (getenv('CA_FILE')) {
    $config->setSslCaCert(getenv('CA_FILE'));
}

$connection = AMQPConnectionFactory::create($config);
$channel = $connection->channel();
// The queue is otpsvc's: declare nothing. A declaration with other settings is refused (406).
$channel->confirm_select();
$returned = false;
$channel->set_return_listener(function () use (&$returned) {
    $returned = true;
});
$channel->set_nack_handler(function () {
    throw new RuntimeException('the broker did not take it');
});

$body = json_encode([
    'command' => 'send-sms',
    'data' => ['id' => $id, 'receiver' => $to, 'message' => $text, 'date_time' => $now, 'expiration' => $now + 600],
], JSON_THROW_ON_ERROR);
$message = new AMQPMessage($body, [
    'content_type' => 'application/json',
    'delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT,
    'message_id' => $id,
]);
// The fourth argument is `mandatory`: without it a message that no queue takes is lost in silence.
$channel->basic_publish($message, '', $queue, true);
$channel->wait_for_pending_acks_returns(30);
$connection->close();

if ($returned) {
    fwrite(STDERR, "no queue of this name\n");
    exit(1);
}
