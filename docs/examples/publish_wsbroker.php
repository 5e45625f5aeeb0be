<?php
// Sends a text through a WebSocket broker of one of the three generations. Nobody confirms it.
//
//   composer require phrity/websocket
//   WS_URL='wss://broker.example/ws?topic=sms' WS_USER=shop WS_PASSWORD=... php publish_wsbroker.php +6281234567890 'Your parcel is here'
//
// GENERATION=2020 for WSMessageBroker, which wants an envelope; else a bare command.

declare(strict_types=1);

require __DIR__ . '/vendor/autoload.php';

use WebSocket\Client;

[, $to, $text] = $argv;
$envelope = getenv('GENERATION') === '2020';

// Always give an id: several consumers get the frame, and the same id, number and text are one message.
$command = [
    'command' => 'send-sms',
    'data' => ['id' => bin2hex(random_bytes(16)), 'receiver' => $to, 'message' => $text],
];
if ($envelope) {
    $command = ['command' => 'send-message', 'channel' => getenv('CHANNEL') ?: 'sms', 'data' => [$command]];
}

$client = new Client(getenv('WS_URL'));
// The user name and then the password: publishers of 2021 sent the name twice.
$login = base64_encode(getenv('WS_USER') . ':' . getenv('WS_PASSWORD'));
$client->addHeader('Authorization', "Basic $login");
if ($envelope) {
    $greeting = json_decode($client->receive()->getContent(), true, 8, JSON_THROW_ON_ERROR);
    if ($greeting['response_code'] !== '00') {
        fwrite(STDERR, "the broker rejected the login\n");
        exit(1);
    }
}
$client->text(json_encode($command, JSON_THROW_ON_ERROR));
$client->close();
